import { type Containerd, connect } from '@containerd-ts/client'
import { Failure } from '../commands/command.js'

export type PluginState = 'ok' | 'skip' | 'error'

/** A plugin of a running daemon, with what it stands in relation to. */
export interface GraphNode {
  /** `type.id` */
  readonly uri: string
  readonly type: string
  readonly id: string
  readonly state: PluginState
  /** Why it failed or was skipped. */
  readonly error?: string
  /** Plugin types that it requires, as it declares them. */
  readonly requires: readonly string[]
  /** URIs of the plugins that these types stand for. `*`, everything, stands for nothing here. */
  readonly needs: readonly string[]
  /** URIs of the plugins that need this one. */
  readonly neededBy: readonly string[]
  /** `linux/amd64` and the like. */
  readonly platforms: readonly string[]
  readonly exports: Readonly<Record<string, string>>
  readonly capabilities: readonly string[]
}

/** Asks a daemon, ours or another, for its plugins. They come in the order of their initialisation. @throws Failure */
export async function askForPlugins(address: string): Promise<GraphNode[]> {
  const containerd = connect(address)
  try {
    return graphOf((await containerd.introspection.plugins({ filters: [] }, { timeoutMs: 10_000 })).plugins)
  } catch (error) {
    throw new Failure(`cannot ask the daemon at ${address}: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    containerd.close()
  }
}

type Plugin = Awaited<ReturnType<Containerd['introspection']['plugins']>>['plugins'][number]

/** The plugins as introspection gives them, with requirements of types resolved to plugins. */
export function graphOf(plugins: readonly Plugin[]): GraphNode[] {
  const uriOf = ({ type, id }: Plugin) => `${type}.${id}`
  const needs = new Map(
    plugins.map((plugin) => {
      const types = new Set(plugin.requires)
      return [uriOf(plugin), plugins.filter((other) => other !== plugin && types.has(other.type)).map(uriOf)]
    }),
  )
  return plugins.map((plugin) => {
    const uri = uriOf(plugin)
    const error = plugin.initErr?.message
    return {
      uri,
      type: plugin.type,
      id: plugin.id,
      state: error === undefined ? 'ok' : error.includes('skip plugin') ? 'skip' : 'error',
      ...(error !== undefined && { error }),
      requires: plugin.requires,
      needs: needs.get(uri) ?? [],
      neededBy: plugins.map(uriOf).filter((other) => needs.get(other)?.includes(uri)),
      platforms: plugin.platforms.map((p) => [p.os, p.architecture, p.variant].filter((part) => part !== '').join('/')),
      exports: plugin.exports,
      capabilities: plugin.capabilities,
    }
  })
}

/** A type without the part that all of them have in common. */
export function shortType(type: string): string {
  return type.replace(/^io\.containerd\./, '')
}
