import type { Any } from '@containerd-ts/api'
import type { Context } from './context.js'

/** A plugin that answers questions about itself. The introspection service passes them on: `PluginInfo` with options. */
export interface PluginInfoProvider {
  /** @throws InvalidArgument for a question that it does not know. */
  pluginInfo(ctx: Context, question: Any): Promise<Any>
}

/** True for an instance that tells more of itself when asked. */
export function isPluginInfoProvider(instance: unknown): instance is PluginInfoProvider {
  return (
    typeof instance === 'object' && instance !== null && 'pluginInfo' in instance && typeof instance.pluginInfo === 'function'
  )
}
