/** The task monitor that exports cgroup metrics: `io.containerd.monitor.task.v1.cgroups`. */
import { hostPlatform } from '@containerd-ts/interface'
import { flag, PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createMonitor } from './monitor.js'

export { createMonitor } from './monitor.js'

/** The plugin `io.containerd.monitor.task.v1.cgroups`. */
export const cgroupsMonitor: Registration<typeof PluginType.TaskMonitor, { no_prometheus: boolean }> = {
  type: PluginType.TaskMonitor,
  id: 'cgroups',
  config: { no_prometheus: flag({ default: false, doc: 'Leave the figures of containers out of the metrics listener.' }) },
  init({ config, log, meta }) {
    meta.platforms.push(hostPlatform())
    return config.no_prometheus ? { add() {}, remove() {} } : createMonitor(log)
  },
}

register(cgroupsMonitor)
