/**
 * ttrpc, the RPC protocol between containerd and its shims: protobuf messages in 10-byte-headed frames over a unix socket.
 *
 * Services are the definitions of `@containerd-ts/api`; the same handlers serve gRPC and ttrpc.
 */
export { type ConnectOptions, connectTtrpc, type TtrpcConnection, ttrpcOver } from './client.js'
export { type Metadata, type ServeOptions, serveTtrpc, type TtrpcHandler, type TtrpcServer, type TtrpcService } from './server.js'
export { type CodeName, isTtrpcClosed, type Status, statusOf, TtrpcClosedError, TtrpcError, ttrpcError } from './status.js'
