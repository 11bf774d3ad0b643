/** The runtime that runs tasks through shims: `io.containerd.runtime.v2.task`, configured by `io.containerd.shim.v1.manager`. */
import { createReaper } from '@containerd-ts/linux'
import { PluginType, type Registration, register, SkipPlugin } from '@containerd-ts/plugin'
import { type RuntimeConfig, runtimeConfig, type ShimConfig, type ShimScope, shimConfig } from './config.js'
import { shimLimits } from './limits.js'
import { platformsOf } from './platforms.js'
import { createRuntime, type LinuxRuntime } from './runtime.js'
import { createShimFinder } from './shim-binary.js'
import { createShimCommands } from './shim-command.js'

/** Holds how shims are started; its instance is its configuration. */
export const shimManager: Registration<typeof PluginType.Shim, ShimConfig> = {
  type: PluginType.Shim,
  id: 'manager',
  config: shimConfig,
  init: (ic) => ic.config,
}

/** The plugin `io.containerd.runtime.v2.task`. */
export const linuxRuntime: Registration<typeof PluginType.RuntimeV2, RuntimeConfig> = {
  type: PluginType.RuntimeV2,
  id: 'task',
  requires: [PluginType.Event, PluginType.Shim],
  after: [PluginType.TaskMonitor],
  config: runtimeConfig,
  async init(ic): Promise<LinuxRuntime> {
    if (process.platform !== 'linux') throw new SkipPlugin('shims run on Linux')
    const shims = ic.getById(PluginType.Shim, 'manager') as ShimConfig
    ic.meta.platforms.push(...platformsOf(ic.config.platforms))
    const limits = shimLimits(ic.timeoutMs)
    ic.meta.exports['log-uri-schemes'] = 'fifo,binary,binary-v2,file'
    const runtime = createRuntime({
      roots: { root: ic.root, state: ic.state },
      events: ic.events,
      monitors: [...ic.getAll(PluginType.TaskMonitor).values()],
      log: ic.log,
      commands: createShimCommands({
        reaper: createReaper({ scope: 'own' }),
        address: ic.address,
        ttrpcAddress: ic.ttrpcAddress,
        version: ic.daemon.version,
        debug: ic.debug,
        env: shims.oci_runtime === '' ? shims.env : [...shims.env, `CONTAINERD_SHIM_RUNTIME=${shims.oci_runtime}`],
        socketDir: shims.socket_dir,
        cleanupMs: limits.cleanup,
      }),
      limits,
      findShim: createShimFinder(shims.shim),
      scope: scopeOf(shims),
      idleMs: shims.shim_idle_timeout,
      lookEveryMs,
    })
    // The daemon serves meanwhile; calls about a task wait for that task.
    void runtime.recover()
    return runtime
  },
}

const lookEveryMs = 10_000

// Core scheduling separates groups of processes, which containers of one shim would all be in.
function scopeOf({ env, shim_scope: scope }: ShimConfig): ShimScope {
  return scope === 'namespace' && env.some((entry) => /^SCHED_CORE=./.test(entry)) ? 'sandbox' : scope
}

export { type RuntimeConfig, type ShimConfig, type ShimScope, scopes } from './config.js'
export type { LinuxRuntime } from './runtime.js'

register(shimManager)
register(linuxRuntime)
