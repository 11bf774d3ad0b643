/** The container monitor that starts containers again: `io.containerd.monitor.container.v1.restart`. */
import { durationMs, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createRestartMonitor } from './monitor.js'
import { policyNames } from './policy.js'

export { createRestartMonitor, type RestartMonitor, type RestartMonitorOptions } from './monitor.js'
export { parsePolicy, type RestartPolicy, restartLabels } from './policy.js'

const defaultMs = 10_000

/** The plugin `io.containerd.monitor.container.v1.restart`. */
export const restartMonitor: Registration<typeof PluginType.ContainerMonitor, { interval: number }> = {
  type: PluginType.ContainerMonitor,
  id: 'restart',
  requires: [PluginType.Metadata, PluginType.RuntimeV2],
  config: { interval: durationMs({ default: defaultMs, doc: 'Time between two looks at the containers; 0 for 10s.' }) },
  init({ config, log, meta, get }) {
    meta.capabilities.push(...policyNames)
    return createRestartMonitor({
      metadata: get(PluginType.Metadata),
      runtime: get(PluginType.RuntimeV2),
      log,
      intervalMs: config.interval || defaultMs,
    })
  },
}

register(restartMonitor)
