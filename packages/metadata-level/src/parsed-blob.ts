/** What an image's JSON says of other blobs. */
export interface ParsedBlob {
  /** Of an index or a manifest, undefined for an image's configuration. */
  readonly mediaType?: string
  /** What it keeps, with the ends of the labels that say so. */
  readonly children: readonly { readonly label: string; readonly digest: string }[]
  /** Of a configuration: the digests of the uncompressed layers. */
  readonly diffIds?: readonly string[]
}

/** Reads an OCI or Docker index, manifest or image configuration; undefined for anything else. */
export function parseManifest(bytes: Uint8Array): ParsedBlob | undefined {
  if (bytes[0] !== 0x7b) return undefined
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch {
    return undefined
  }
  const manifests = digestsIn(field(json, 'manifests'))
  const layers = digestsIn(field(json, 'layers'))
  const config = field(field(json, 'config'), 'digest')
  const given = field(json, 'mediaType')
  const mediaType = typeof given === 'string' ? given : undefined
  if (manifests !== undefined) {
    const children = manifests.map((digest, index) => ({ label: `m.${index}`, digest }))
    return { mediaType: mediaType ?? 'application/vnd.oci.image.index.v1+json', children }
  }
  if (layers !== undefined && typeof config === 'string') {
    const children = [{ label: 'config', digest: config }, ...layers.map((digest, index) => ({ label: `l.${index}`, digest }))]
    return { mediaType: mediaType ?? 'application/vnd.oci.image.manifest.v1+json', children }
  }
  const diffIds = field(field(json, 'rootfs'), 'diff_ids')
  if (Array.isArray(diffIds) && diffIds.every((id) => typeof id === 'string')) return { children: [], diffIds }
  return undefined
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

function digestsIn(list: unknown): string[] | undefined {
  if (!Array.isArray(list)) return undefined
  const digests = list.map((descriptor) => field(descriptor, 'digest'))
  return digests.every((digest) => typeof digest === 'string') ? digests : undefined
}
