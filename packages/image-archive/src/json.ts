import type { ImageDescriptor } from '@containerd-ts/images'

/** JSON, byte for byte as Go writes it, so that the same document has the same digest whoever made it. */
export function encodeJson(value: unknown): Buffer {
  const text = JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return Buffer.from(text)
}

/** A descriptor as documents have it, its fields in the order in which Go's types have them. */
export function descriptorJson({ mediaType, digest, sizeBytes, urls, annotations, platform }: ImageDescriptor): object {
  const names = Object.keys(annotations).sort()
  return {
    mediaType,
    digest,
    size: sizeBytes,
    ...(urls !== undefined && { urls }),
    ...(names.length > 0 && { annotations: Object.fromEntries(names.map((name) => [name, annotations[name]])) }),
    ...(platform !== undefined && {
      platform: {
        architecture: platform.architecture,
        os: platform.os,
        ...(platform.osVersion !== undefined && { 'os.version': platform.osVersion }),
        ...(platform.osFeatures !== undefined && { 'os.features': platform.osFeatures }),
        ...(platform.variant !== '' && { variant: platform.variant }),
      },
    }),
  }
}
