/**
 * A containerd client for TypeScript programs.
 *
 * `connect` gives typed calls of every service; `importImage`, `unpack` and `run` do what takes several of them.
 */
export { chainIds } from '@containerd-ts/images'
export { type ConnectOptions, type Containerd, connect, hasStatus, leased, type Services } from './connection.js'
export { type Descriptor, labelBlob, readBlob, type WriteOptions, writeBlob } from './content.js'
export { type ImageConfig, type Manifest, readConfig, resolveManifest, unpack } from './image.js'
export { importImage } from './import.js'
export { type RunOptions, type RunResult, run } from './run.js'
export { ociSpec, type SpecOptions } from './spec.js'
export {
  exportArchive,
  importArchive,
  type PullOptions,
  pullImage,
  pushImage,
  type RegistryOptions,
  type TransferOptions,
} from './transfer.js'
