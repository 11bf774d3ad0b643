import { connect } from '@containerd-ts/client'
import type { Ask } from '@containerd-ts/gc-scheduler/questions'
import { PluginType } from '@containerd-ts/plugin'

/** Lets `work` ask the collector of the running daemon. */
export async function askingCollector<T>(address: string, work: (ask: Ask) => Promise<T>): Promise<T> {
  const containerd = connect(address)
  try {
    return await work(async (question) => {
      const call = { type: PluginType.GC, id: 'scheduler', options: question }
      return (await containerd.introspection.pluginInfo(call, { timeoutMs: 600_000 })).extra
    })
  } finally {
    containerd.close()
  }
}
