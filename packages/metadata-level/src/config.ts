import { type ConfigSchema, choice, durationMs, flag } from '@containerd-ts/plugin'

/** Whether a namespace may begin a blob from what another namespace has, knowing its digest. */
export type ContentSharingPolicy = 'shared' | 'isolated'

/** `[plugins."io.containerd.metadata.v1.level"]`. */
export interface MetadataConfig {
  content_sharing_policy: ContentSharingPolicy
  no_sync: boolean
  backend_timeout: number
}

export const metadataConfig: ConfigSchema<MetadataConfig> = {
  content_sharing_policy: choice(['shared', 'isolated'], {
    default: 'shared',
    doc: 'Whether a namespace may take over a blob of another by its digest alone ("shared"), or only from namespaces labelled containerd.io/namespace.shareable=true ("isolated").',
  }),
  no_sync: flag({
    default: false,
    doc: 'Leave it to the kernel when changes reach the disk: faster, and a power failure may lose them.',
  }),
  backend_timeout: durationMs({
    default: 10_000,
    doc: 'How long a collection of garbage waits for one answer of a content store or snapshotter before it leaves it for the next time.',
  }),
}
