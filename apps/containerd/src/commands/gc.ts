import { askForGarbage, askToCollect } from '@containerd-ts/gc-scheduler/questions'
import type { CollectionStats, Garbage } from '@containerd-ts/interface'
import { bytes, columns } from '../columns.js'
import { askingCollector } from './asking-collector.js'
import { command } from './command.js'
import { addressOf } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'

export const gc = command({
  words: ['gc'],
  summary: 'collect garbage in the running daemon',
  description: 'Removes what nothing keeps, as the daemon does by itself after deletions, and says how much that was.',
  options: {
    'dry-run': { type: 'boolean', doc: 'remove nothing; list what would be removed and the space that would be freed' },
    format: formatOption,
  },
  async run({ values }) {
    const json = wantsJson(values.format)
    await askingCollector(addressOf(values), async (ask) => {
      if (values['dry-run'] === true) {
        const garbage = await askForGarbage(ask)
        if (json) printJson(garbage)
        else process.stdout.write(garbageTable(garbage))
      } else {
        const stats = await askToCollect(ask)
        if (json) printJson(stats)
        else process.stdout.write(statsText(stats))
      }
    })
  },
})

function garbageTable(garbage: readonly Garbage[]): string {
  if (garbage.length === 0) return 'Nothing would be removed.\n'
  const rows = garbage.map(({ object: { kind, namespace, id, snapshotter }, sizeBytes }) => [
    namespace,
    kind,
    snapshotter === undefined ? id : `${snapshotter}/${id}`,
    bytes(sizeBytes),
  ])
  const total = garbage.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const count = `${garbage.length} ${garbage.length === 1 ? 'object' : 'objects'}`
  return `${columns([['NAMESPACE', 'KIND', 'ID', 'SIZE'], ...rows], [3])}\n${count}, ${bytes(total)}\n`
}

function statsText({ removed, totalMs }: CollectionStats): string {
  const parts = Object.entries(removed).flatMap(([kind, count]) => (count === 0 ? [] : [`${count} ${kind}`]))
  return `removed ${parts.length === 0 ? 'nothing' : parts.join(', ')} in ${totalMs.toFixed(1)} ms\n`
}
