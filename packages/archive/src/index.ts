/** OCI layers: unpack them into a tree, make them from two trees; and the tar format underneath. */
export {
  type ApplyLayerOptions,
  type Archive,
  type ArchiveOptions,
  type CompareOptions,
  type Comparison,
  openArchive,
} from './archive.js'
export { decompress, type Encoding, encodingOf, magicSize, type Peeked, peekEncoding, zstdCompressor } from './decompress.js'
export type { Applied, ApplyTarget, Compared } from './jobs.js'
export type { NewDirectory } from './new-directories.js'
export { TarError } from './tar-error.js'
export { type DataSpan, padded, type TarHeader, TarType } from './tar-header.js'
export { type ByteSource, createTarReader, type TarReader } from './tar-reader.js'
export { type StreamedEntry, tarEntries } from './tar-stream.js'
export { encodeHeader, endOfArchive, type TarEntry } from './tar-writer.js'
export { transformed } from './transform.js'
export type { TreeUsage } from './tree-usage.js'
