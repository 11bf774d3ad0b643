import type { RegistryImage } from '@containerd-ts/interface'
import { createResolver, type Resolver } from '@containerd-ts/remotes'
import type { LocalTransfer } from './local.js'

/** Talks to the registry of an image; the caller closes it. */
export function openResolver(
  { hostDir, userAgent }: Pick<LocalTransfer, 'hostDir' | 'userAgent'>,
  image: RegistryImage,
): Resolver {
  const { headers, defaultScheme, credentials, debug } = image
  const dir = image.hostDir === '' ? hostDir : image.hostDir
  return createResolver({
    headers,
    userAgent,
    ...(dir !== '' && { hostDir: dir }),
    ...(defaultScheme !== '' && { defaultScheme }),
    ...(credentials !== undefined && { credentials }),
    ...(debug !== undefined && { onRequest: ({ text }) => debug(text) }),
  })
}

/** A registry's image as clients and errors tell of it. */
export function registryName({ reference }: Pick<RegistryImage, 'reference'>): string {
  return `OCI Registry (${reference})`
}
