/** What images are made of, and how a content store holds them. */
export { blobPieces, readBlob, storeBlob } from './blobs.js'
export { chainIds } from './chain-ids.js'
export { childLabels } from './child-labels.js'
export {
  configPlatform,
  type ImageConfig,
  type ImageDescriptor,
  maxDocumentBytes,
  parseChildren,
  parseImageConfig,
  parseIndex,
  parseManifest,
  readChildren,
  readImageConfig,
} from './documents.js'
export { isConfigType, isDockerType, isIndexType, isLayerType, isManifestType, isNonDistributable } from './media-types.js'
export {
  anyPlatform,
  formatPlatform,
  listedPlatforms,
  normalizePlatform,
  type Platform,
  type PlatformMatcher,
  parsePlatform,
  platformsOfMachine,
  platformsOfSystem,
} from './platforms.js'
