/** The Introspection service: the plugins of this daemon with what became of them, and who the daemon is. */
import { IntrospectionDefinition } from '@containerd-ts/api/containerd/services/introspection/v1/introspection'
import { RuntimeRequest } from '@containerd-ts/api/containerd/types/runtime_info'
import { parseFilters } from '@containerd-ts/filters'
import {
  type Any,
  bindService,
  type Context,
  FailedPreconditionError,
  isPluginInfoProvider,
  NotFoundError,
  UnimplementedError,
} from '@containerd-ts/interface'
import { type InitContext, type PluginStatus, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { pluginEntry, pluginField } from './plugins.js'
import { pidNamespace, serverUuid } from './server-info.js'

/** The plugin `io.containerd.grpc.v1.introspection`. */
export const introspectionService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'introspection',
  init: (ic) => ({
    services: [
      bindService(IntrospectionDefinition, {
        async plugins(_ctx, { filters }) {
          const matches = parseFilters(filters)
          return {
            plugins: ic
              .plugins()
              .filter((plugin) => matches(pluginField(plugin)))
              .map(pluginEntry),
          }
        },
        async server() {
          return { uuid: await serverUuid(ic.root), pid: process.pid, pidns: await pidNamespace(), deprecations: [] }
        },
        async pluginInfo(ctx, { type, id, options }) {
          const plugin = ic.plugins().find((p) => p.type === type && p.id === id)
          if (plugin === undefined) throw new NotFoundError(`plugin ${type}.${id} not found`)
          return { plugin: pluginEntry(plugin), extra: options && (await extraInfo(ic, ctx, plugin, options)) }
        },
      }),
    ],
  }),
}

/** What a plugin tells when it is asked with options. */
async function extraInfo(ic: InitContext, ctx: Context, { type, id, error, instance }: PluginStatus, options: Any): Promise<Any> {
  if (error !== undefined) throw new FailedPreconditionError(`plugin ${type}.${id} failed to load: ${error.message}`)
  if (isPluginInfoProvider(instance)) return instance.pluginInfo(ctx, options)
  if (type !== PluginType.RuntimeV2 || id !== 'task')
    throw new UnimplementedError(`plugin ${type}.${id} gives no further information`)
  const request = RuntimeRequest.decode(options.value)
  return ic.getById(PluginType.RuntimeV2, 'task').info(ctx, request.runtimePath, request.options)
}

register(introspectionService)
