/** What images are made of, and how a content store holds them. */
export { addLabels, blobPieces, readBlob, storeBlob } from './blobs.js'
export { chainIds } from './chain-ids.js'
export { childLabels } from './child-labels.js'
export {
  type ImageConfig,
  type ImageDescriptor,
  maxDocumentBytes,
  parseChildren,
  parseImageConfig,
  parseIndex,
  parseJson,
  parseManifest,
  readChildren,
  readImageConfig,
} from './documents.js'
export {
  documentTypes,
  isConfigType,
  isDocumentType,
  isIndexType,
  isLayerType,
  isManifestType,
  isNonDistributable,
} from './media-types.js'
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
