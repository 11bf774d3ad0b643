const indexTypes: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
])
const manifestTypes: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
])
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
  return indexTypes.has(mediaType)
}

/** Whether this names an image manifest, OCI's or Docker's of schema 2. */
export function isManifestType(mediaType: string): boolean {
  return manifestTypes.has(mediaType)
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

/** Whether this names one of Docker's types rather than OCI's. */
export function isDockerType(mediaType: string): boolean {
  return mediaType.startsWith('application/vnd.docker.')
}

/** Whether this names a layer that registries do not hold themselves. */
export function isNonDistributable(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.foreign.')
  )
}
