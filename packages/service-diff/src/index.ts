/** The Diff service: asks the configured differs in turn. */
import { type Differ, firstThatCan, requireNamespace } from '@containerd-ts/interface'
import { flag, list, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { diffServiceOf } from './service.js'

export { type DiffServiceOptions, diffServiceOf } from './service.js'

interface DiffConfig {
  default: readonly string[]
  sync_fs: boolean
}

/** Keeps containerd's name of the section in which differs are configured. */
export const diffService: Registration<typeof PluginType.Service, DiffConfig> = {
  type: PluginType.Service,
  id: 'diff-service',
  requires: [PluginType.Differ],
  config: {
    default: list({ default: ['walking'], doc: 'Differs in the order in which they are asked.' }),
    sync_fs: flag({
      default: true,
      doc: 'Have every unpacked layer on disk before it is answered; otherwise only if a call asks for it.',
    }),
  },
  init(ic) {
    const differs = ic.config.default.map((id) => ic.getById(PluginType.Differ, id))
    const sequence: Differ = {
      apply: (ctx, descriptor, mounts, options) =>
        firstThatCan('differ', differs, (differ) =>
          differ.apply(ctx, descriptor, mounts, { ...options, syncFs: ic.config.sync_fs || options?.syncFs === true }),
        ),
      compare: (ctx, lower, upper, options) =>
        firstThatCan('differ', differs, (differ) => differ.compare(ctx, lower, upper, options)),
    }
    return sequence
  },
}

/** The plugin `io.containerd.grpc.v1.diff`. */
export const diffGrpcService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'diff',
  requires: [PluginType.Service],
  init(ic) {
    const differ = ic.getById(PluginType.Service, 'diff-service') as Differ
    return { services: [diffServiceOf({ differ, authorize: requireNamespace })] }
  },
}

register(diffService)
register(diffGrpcService)
