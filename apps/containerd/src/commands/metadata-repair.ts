import { setBlobAside } from '@containerd-ts/content-local/on-disk'
import { compareWithEvidence, inspectMetadata, repairDatabase } from '@containerd-ts/metadata-level/maintenance'
import { contentRoot, databasePath, gatherEvidence } from '../evidence.js'
import { progressLine } from '../progress-line.js'
import { command } from './command.js'
import { configuration } from './configuration.js'
import { withoutDaemon } from './without-daemon.js'

export const metadataRepair = command({
  words: ['metadata', 'repair'],
  summary: 'rebuild a damaged metadata database from what can be read and what the stores prove',
  description: `Works below --root, which no daemon may have open. The old database is kept under another name. Records that can be read
stay; those that the content or the snapshots on disk contradict go; blobs and snapshots that have no record get one again, in the
namespace that their snapshots tell or else in --namespace. An image whose name is lost is called recovered@<digest>. Containers and
leases cannot be rebuilt.`,
  options: {
    namespace: {
      type: 'string',
      short: 'n',
      value: 'NS',
      doc: 'for content that nothing says where it belongs (default "default")',
    },
    verify: {
      type: 'boolean',
      doc: 'read all content; what is not what its digest says is set aside, so that it can be fetched again',
    },
    force: { type: 'boolean', doc: 'rebuild a database in which nothing is damaged, too' },
  },
  async run({ values }) {
    const config = await configuration(values)
    const path = databasePath(config)
    await withoutDaemon(config, async () => {
      const inspection = await inspectMetadata(path)
      const line = progressLine()
      const { evidence, unreadable } = await gatherEvidence(config, { verify: values.verify === true, progress: line.show })
      line.clear()
      for (const [id, reason] of unreadable)
        process.stderr.write(
          `containerd: the records of snapshotter ${id} cannot be read, its snapshots stay as they are recorded: ${reason}\n`,
        )
      const damage = compareWithEvidence(inspection, evidence).filter(({ severity }) => severity === 'damage')
      if (damage.length === 0 && values.force !== true) {
        process.stdout.write('nothing to repair\n')
        return
      }
      for (const { text } of damage) process.stdout.write(`damage: ${text}\n`)
      const { keptAt, records, added, lost } = await repairDatabase(path, inspection, evidence, {
        namespace: values.namespace ?? 'default',
      })
      for (const digest of evidence.altered)
        process.stdout.write(`set aside: ${digest} as ${await setBlobAside(contentRoot(config), digest)}\n`)
      for (const text of lost) process.stdout.write(`lost: ${text}\n`)
      const rebuilt = Object.entries(added).flatMap(([kind, count]) => (count === 0 ? [] : [`${count} ${kind}`]))
      process.stdout.write(
        `${records} records, ${rebuilt.length === 0 ? 'none' : rebuilt.join(', ')} of them rebuilt from the stores\n`,
      )
      process.stdout.write(`the old database is ${keptAt}\n`)
    })
  },
})
