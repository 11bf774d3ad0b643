/** Importing this registers the listeners: gRPC, ttrpc, metrics and debug. */
import { register } from '@containerd-ts/plugin'
import { grpcListener, grpcMetrics } from './grpc/listener.js'
import { debugListener, metricsListener } from './http.js'
import { ttrpcListener } from './ttrpc.js'

register(ttrpcListener)
register(grpcMetrics)
register(grpcListener)
register(metricsListener)
register(debugListener)
