import type { Any } from '@containerd-ts/api'
import type { Platform } from '@containerd-ts/api/containerd/types/platform'
import type { Labels } from './content.js'
import type { Context } from './context.js'
import type { Descriptor } from './metadata.js'

/** An image in a registry. */
export interface RegistryImage {
  kind: 'registry'
  reference: string
  /** Sent with every request. */
  headers: Labels
  /** Directory of `<host>/hosts.toml`; empty for that of the configuration. */
  hostDir: string
  /** `http`, `https`, or empty for what is usual with the host. */
  defaultScheme: string
  /** Asks the client. Undefined: nobody to ask. */
  credentials?(request: RegistryCredentialsRequest): Promise<RegistryCredentials | undefined>
  /** Takes lines about requests and answers, for a client that wants to see them. */
  debug?(line: string): void
}

/** What credentials are for. */
export interface RegistryCredentialsRequest {
  host: string
  reference: string
  /** Values of the header in which the registry asked. */
  wwwAuthenticate: readonly string[]
}

/** How to say who one is to a registry. */
export interface RegistryCredentials {
  /** A user and a password, a token to get tokens with, or the value of the `Authorization` header. */
  type: 'credentials' | 'refresh' | 'header'
  username: string
  secret: string
}

/** Another name of images in the store. */
export interface ImageReference {
  name: string
  /** Only the beginning of the name: a tag, or the digest, is added. */
  isPrefix: boolean
  /** The archive may name the image differently. */
  allowOverwrite: boolean
  /** Name it by its digest as well, `<name>@<digest>`. */
  addDigest: boolean
  /** But not what got a name otherwise. */
  skipNamedDigest: boolean
}

/** Images in the daemon's store: where from, or how they are stored. */
export interface StoredImage {
  kind: 'image-store'
  name: string
  labels: Labels
  /** Which of an index' images; empty for all. */
  platforms: readonly Platform[]
  /** Store manifests and configurations of the other platforms, too. */
  allMetadata: boolean
  /** At most this many manifests of an index, 0 for all. */
  manifestLimit: number
  extraReferences: readonly ImageReference[]
  /** Which platforms are unpacked, and by which snapshotters; an empty name for the usual one. */
  unpacks: readonly { platform: Platform; snapshotter: string }[]
}

/** An archive that a client sends. */
export interface ImportedArchive {
  kind: 'import'
  bytes: AsyncIterable<Uint8Array>
  /** Empty: recognised by its content. */
  mediaType: string
  /** Compress layers that are not. */
  forceCompress: boolean
}

/** An archive that a client receives. */
export interface ExportedArchive {
  kind: 'export'
  /** Sends an archive and ends the stream, whether or not that goes well. */
  write(bytes: AsyncIterable<Uint8Array>): Promise<void>
  mediaType: string
  platforms: readonly Platform[]
  allPlatforms: boolean
  skipCompatibilityManifest: boolean
  skipNonDistributable: boolean
}

/** Where something comes from or goes to; of a type that is not known here it is `other`. */
export type TransferEnd = RegistryImage | StoredImage | ImportedArchive | ExportedArchive | { kind: 'other'; object: Any }

/** What happens, as clients show it. */
export interface TransferProgress {
  /** For instance `downloading`, `complete`, `saved`. */
  event: string
  /** What it happens to: an image, or the ref of a blob. */
  name?: string
  /** Names of what it belongs to. */
  parents?: readonly string[]
  /** Bytes done. */
  progress?: number
  /** Bytes there are. */
  total?: number
  descriptor?: Descriptor
}

/** Moves images between registries, archives and the daemon's store. */
export interface Transferrer {
  /**
   * Settled when all of it is done.
   *
   * @throws Unimplemented when this one does not know the way from `source` to `destination`; the next one is asked.
   */
  transfer(
    ctx: Context,
    source: TransferEnd,
    destination: TransferEnd,
    onProgress?: (progress: TransferProgress) => void,
  ): Promise<void>
}
