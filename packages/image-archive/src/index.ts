/** Archives of images: OCI image layouts and what `docker save` writes, to and from a content store. */
export { type ExportedImage, type ExportOptions, exportArchive } from './export-archive.js'
export { type ImportOptions, importArchive } from './import-archive.js'
export {
  addRefPrefix,
  familiarReference,
  filterRefPrefix,
  imageNameAnnotation,
  normalizeReference,
  ociReferenceName,
  refNameAnnotation,
} from './references.js'
