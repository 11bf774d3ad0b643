/** Moves images between registries, archives and the image store: `io.containerd.transfer.v1.local`. */
import { parsePlatform, platformsOfMachine, platformsOfSystem } from '@containerd-ts/images'
import { FailedPreconditionError, hostPlatform, type ImageVerifier, NotFoundError, quote } from '@containerd-ts/interface'
import {
  flag,
  type InitContext,
  integer,
  isSkipPlugin,
  PluginType,
  type Registration,
  register,
  tables,
  text,
} from '@containerd-ts/plugin'
import { createTransferrer } from './local.js'
import type { UnpackTarget } from './unpack.js'

export { createTransferrer, type TransferOptions } from './local.js'
export type { UnpackTarget } from './unpack.js'

interface UnpackConfig {
  platform: string
  snapshotter: string
  differ: string
  optional: boolean
}

interface TransferConfig {
  max_concurrent_downloads: number
  max_concurrent_uploaded_layers: number
  config_path: string
  check_platform_supported: boolean
  unpack_config: readonly UnpackConfig[]
  max_concurrent_unpacks: number
  concurrent_layer_fetch_buffer: number
}

/** The plugin `io.containerd.transfer.v1.local`. */
export const localTransfer: Registration<typeof PluginType.Transfer, TransferConfig> = {
  type: PluginType.Transfer,
  id: 'local',
  requires: [PluginType.Lease, PluginType.Metadata, PluginType.Differ],
  after: [PluginType.Snapshotter, PluginType.ImageVerifier],
  config: {
    max_concurrent_downloads: integer({
      default: 3,
      min: 0,
      doc: 'Blobs that are fetched at a time, in all pulls together; 0: any number.',
    }),
    max_concurrent_uploaded_layers: integer({ default: 3, min: 0, doc: 'Blobs that are pushed at a time; 0: any number.' }),
    config_path: text({ default: '', doc: 'Directory of `<host>/hosts.toml` for clients that name none.' }),
    check_platform_supported: flag({
      default: false,
      doc: 'Unpack only what this machine runs by itself, not every architecture of its operating system.',
    }),
    unpack_config: tables<UnpackConfig>(
      {
        platform: text({ default: 'linux', doc: 'What images it is for.' }),
        snapshotter: text({ default: '', doc: 'Where they are unpacked.' }),
        differ: text({ default: '', doc: 'By what; empty: `walking`, or whichever there is.' }),
        optional: flag({ default: false, doc: 'Do without when the snapshotter or the differ is not there.' }),
      },
      { doc: 'Where images can be unpacked; none: for this operating system, by every snapshotter there is.' },
    ),
    max_concurrent_unpacks: integer({
      default: 1,
      min: 0,
      doc: 'Accepted; the layers of an image are unpacked one after the other.',
    }),
    concurrent_layer_fetch_buffer: integer({ default: 0, min: 0, doc: 'Accepted; a layer is fetched in one piece.' }),
  },
  init(ic) {
    const { content, images } = ic.get(PluginType.Metadata)
    return createTransferrer({
      content,
      images,
      leases: ic.get(PluginType.Lease),
      verifiers: imageVerifiers(ic),
      targets: unpackTargets(ic),
      hostDir: ic.config.config_path,
      userAgent: `containerd/${ic.daemon.version}`,
      maxDownloads: ic.config.max_concurrent_downloads,
      maxUploads: ic.config.max_concurrent_uploaded_layers,
    })
  },
}

/** All there are. @throws FailedPreconditionError when one has failed: it would be as if it had agreed to everything. */
function imageVerifiers(ic: InitContext): ReadonlyMap<string, ImageVerifier> {
  const failed = ic
    .plugins()
    .find(({ type, error }) => type === PluginType.ImageVerifier && error !== undefined && !isSkipPlugin(error))
  if (failed !== undefined) throw new FailedPreconditionError(`image verifier ${failed.id} failed: ${failed.error?.message}`)
  return ic.getAll(PluginType.ImageVerifier)
}

function unpackTargets(ic: InitContext<TransferConfig>): UnpackTarget[] {
  const { snapshotters } = ic.get(PluginType.Metadata)
  const differs = ic.getAll(PluginType.Differ)
  const { unpack_config, check_platform_supported } = ic.config
  const { os } = hostPlatform()
  const wanted =
    unpack_config.length > 0
      ? unpack_config
      : [...snapshotters.keys()].map((snapshotter) => ({ platform: os, snapshotter, differ: '', optional: true }))
  const targets: UnpackTarget[] = []
  for (const { platform, snapshotter: name, differ: id, optional } of wanted) {
    const parsed = parsePlatform(platform)
    const snapshotter = snapshotters.get(name)
    const differ = id === '' ? (differs.get('walking') ?? [...differs.values()][0]) : differs.get(id)
    if (snapshotter !== undefined && differ !== undefined) {
      const platforms = check_platform_supported ? platformsOfMachine(parsed) : platformsOfSystem(parsed)
      targets.push({ platforms, name, snapshotter, differ })
    } else if (!optional) {
      throw new NotFoundError(snapshotter === undefined ? `snapshotter ${quote(name)}` : `differ ${quote(id)}`)
    }
  }
  return targets
}

register(localTransfer)
