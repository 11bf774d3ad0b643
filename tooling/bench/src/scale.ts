/** How our daemon does with 100,000 blobs and 10,000 containers. Debian's containerd would take minutes to get there. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@containerd-ts/client'
import { startDaemon } from '@containerd-ts/testkit'
import { latencyDuring } from './latency.js'
import { makeManyRecords } from './many-records.js'
import { atOnce, median, times } from './measure.js'
import { peakMemory, resetPeakMemory } from './process-figures.js'

const counts = { blobs: 100_000, containers: 10_000 }

async function main(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'scale-'))
  const say = (name: string, value: number, unit: string) =>
    process.stdout.write(`${name.padEnd(48)}${value.toFixed(1).padStart(10)} ${unit}\n`)
  try {
    const made = performance.now()
    await makeManyRecords(join(dir, 'root'), counts)
    say('records made', (counts.blobs * 1.1 + counts.containers) / ((performance.now() - made) / 1000), '/s')
    const daemon = await startDaemon({ dir })
    say('boot', daemon.bootMs, 'ms')
    say('memory after the boot', await peakMemory(daemon.pid), 'MB')
    const containerd = connect(daemon.address, { namespace: 'many' })
    // Calls that are quick by themselves show how long the daemon is busy with something else.
    const other = connect(daemon.address, { namespace: 'few' })
    try {
      const get = await times(2000, async (n) => void (await containerd.containers.get({ id: `c${n * 5}` })))
      say('get a container', median(get), 'ms')

      await resetPeakMemory(daemon.pid)
      const before = await peakMemory(daemon.pid)
      const measured = async (name: string, work: () => Promise<void>) => {
        const started = performance.now()
        const { max } = await latencyDuring(other, work)
        say(name, performance.now() - started, 'ms')
        say('  the slowest other call meanwhile', max, 'ms')
      }
      await measured('list 10,000 containers, streamed', async () => {
        for await (const _ of containerd.containers.listStream({}));
      })
      await measured('list 100,000 blobs', async () => {
        for await (const _ of containerd.content.list({}));
      })
      await measured('list 100,000 blobs by a label', async () => {
        for await (const _ of containerd.content.list({ filters: ['labels."containerd.io/gc.ref.content.l.0"~=^sha256:00'] }));
      })
      await measured('collect, with nothing to remove', async () => {
        const { lease } = await containerd.leases.create({})
        await containerd.leases.delete({ id: lease?.id ?? '', sync: true })
      })
      say('memory for all of that', (await peakMemory(daemon.pid)) - before, 'MB')
      const { images } = await containerd.images.list({})
      const half = images.slice(0, images.length / 2)
      await measured('delete 5,000 images, 16 at once', () =>
        atOnce(16, half.length, async (n) => void (await containerd.images.delete({ name: half[n]?.name ?? '' }))),
      )
      await measured('collect, with 50,000 blobs to remove', async () => {
        await containerd.images.delete({ name: images.at(-1)?.name ?? '', sync: true })
      })
    } finally {
      containerd.close()
      other.close()
      await daemon.stop()
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

await main()
