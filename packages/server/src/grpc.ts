/** Importing this registers the gRPC listener alone, for a daemon that needs no other. */
import { register } from '@containerd-ts/plugin'
import { grpcListener } from './grpc/listener.js'

register(grpcListener)
