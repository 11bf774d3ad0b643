/** What a layer is once it is uncompressed. */
export const uncompressedLayer = 'application/vnd.oci.image.layer.v1.tar'

const ociLayers = [uncompressedLayer, 'application/vnd.oci.image.layer.nondistributable.v1.tar']
const dockerLayers = [
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
  'application/vnd.docker.image.rootfs.foreign.diff.tar',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
]

/**
 * How to read a layer: `detect` by its first bytes, whatever the type says of the compression, or `none` because the type says that
 * it is not compressed. Undefined when the type is no layer's.
 */
export function layerCompression(mediaType: string): 'detect' | 'none' | undefined {
  const [base = '', ...suffixes] = mediaType.split('+')
  // Docker's type without a suffix has been used for compressed layers too.
  if (dockerLayers.includes(base)) return suffixes.length > 0 ? 'none' : 'detect'
  if (!ociLayers.includes(base)) return undefined
  const last = suffixes.sort().at(-1)
  return last === 'gzip' || last === 'zstd' ? 'detect' : 'none'
}
