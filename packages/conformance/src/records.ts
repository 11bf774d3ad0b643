import type { ContainerWrite, Descriptor, ImageWrite, Labels } from '@containerd-ts/interface'

// UTF-8 sorts these otherwise than UTF-16 does.
export const names = ['B', 'a', 'a/b:c', 'ab', 'é', '\uffee', '\u{1f600}']

export type ImageChanges = Partial<Descriptor> & { labels?: Labels }

export function imageOf(name: string, { labels = {}, ...target }: ImageChanges = {}): ImageWrite {
  return {
    name,
    labels,
    target: {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digest('a'),
      sizeBytes: 7,
      annotations: {},
      ...target,
    },
  }
}

export function containerOf(id: string, changes: Partial<ContainerWrite> = {}): ContainerWrite {
  return {
    id,
    labels: {},
    image: '',
    runtime: { name: 'io.containerd.runc.v2' },
    snapshotter: '',
    snapshotKey: '',
    extensions: {},
    sandbox: '',
    ...changes,
  }
}

/** A well-formed digest of nothing in particular. */
export function digest(char: string): string {
  return `sha256:${char.repeat(64)}`
}

export function bytesOf(any: { typeUrl: string; value: Uint8Array } | undefined) {
  return any && [any.typeUrl, ...any.value]
}
