import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startDaemon } from '@containerd-ts/testkit'
import { describe, expect, it } from 'vitest'
import { connectStores } from '../stores.js'
import { inventory, orphans } from './crash/inventory.js'
import { randomNumbers, useUntilKilled } from './crash/load.js'
import { Model } from './crash/model.js'

const rounds = Number(process.env['CRASH_ROUNDS'] ?? 200)
const clients = 6

describe('a daemon that is killed', () => {
  it(`at any moment has everything that it acknowledged, and nothing half-made (${rounds} times)`, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'crash-'))
    const seed = Date.now() % 1_000_000
    const random = randomNumbers(seed)
    const model = new Model()
    const problems: string[] = []
    let acknowledged = 0
    for (let round = 0; round < rounds && problems.length === 0; round++) {
      const daemon = await startDaemon({ dir, config: config(dir) })
      const stores = connectStores(daemon.address)
      try {
        // First what must be there, as long as it may not be collected yet; then what may not.
        const note = (problem: string) => problems.push(`seed ${seed} round ${round}: ${problem}`)
        model.missing(await inventory(stores)).forEach(note)
        await stores.collect()
        model.compare(await inventory(stores)).forEach(note)
        ;(await orphans(daemon.root, stores)).forEach(note)
        acknowledged = model.size

        let killed = false
        const load = Promise.all(
          Array.from({ length: clients }, (_, client) =>
            useUntilKilled(client, stores, model, randomNumbers(random(1_000_000)), () => killed),
          ),
        )
        await new Promise((resolve) => setTimeout(resolve, 20 + random(200)))
        killed = true
        await daemon.stop('SIGKILL')
        await load
      } finally {
        stores.close()
        await daemon.stop('SIGKILL')
      }
    }
    expect(problems).toEqual([])
    // The load has left something to lose.
    expect(acknowledged).toBeGreaterThan(50)
    await rm(dir, { recursive: true, force: true })
  }, 600_000)
})

/** As small as the daemon can be, to start often. */
function config(dir: string): string {
  return `version = 2
disabled_plugins = ["io.containerd.monitor.task.v1.cgroups"]
[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "${join(dir, 's')}"
`
}
