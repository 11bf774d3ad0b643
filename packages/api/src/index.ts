/**
 * The containerd API v1. Generated codecs and service definitions are imported by their proto path, for instance
 * `@containerd-ts/api/containerd/services/version/v1/version`; this entry holds what is common to all of them.
 */
export { type Any, packAny, typeName } from './any.js'
export { createGrpcClient, grpcServiceDefinition } from './grpc.js'
export {
  type CallOptions,
  type Client,
  EncodedMessage,
  encodeMessage,
  type Handlers,
  type MessageType,
  type MethodDefinition,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
} from './service.js'
export { compareTimestamps, now, type Timestamp, timestampFromMs, timestampMs, zeroTimestamp } from './timestamp.js'
