/** What refers to other content, and what registries keep by name: manifests and indexes, OCI's and Docker's of schema 2. */
export const documentTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
] as const
const [ociManifest, ociIndex, dockerManifest, dockerIndex] = documentTypes
const configTypes: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
])
const dockerLayerTypes: ReadonlySet<string> = new Set(
  ['', '.gzip', '.zstd'].flatMap((compression) =>
    ['', 'foreign.'].map((kind) => `application/vnd.docker.image.rootfs.${kind}diff.tar${compression}`),
  ),
)

/** Whether this names an OCI image index or Docker's manifest list. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === ociIndex || mediaType === dockerIndex
}

/** Whether this names an image manifest, OCI's or Docker's of schema 2. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === ociManifest || mediaType === dockerManifest
}

/** Whether this names one of {@link documentTypes}. */
export function isDocumentType(mediaType: string): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType)
}

/** Whether this names the configuration of an image, OCI's or Docker's. */
export function isConfigType(mediaType: string): boolean {
  return configTypes.has(mediaType)
}

/** Whether this names a layer, however it is compressed or encrypted. */
export function isLayerType(mediaType: string): boolean {
  if (mediaType.startsWith('application/vnd.oci.image.layer.')) return true
  const [base = ''] = mediaType.split('+')
  return dockerLayerTypes.has(base) || base === 'application/vnd.erofs.layer.v1'
}

/** Whether this names a layer that registries do not hold themselves. */
export function isNonDistributable(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.foreign.')
  )
}
