import { DataLossError } from '@containerd-ts/interface'
import { compareWithEvidence, inspectMetadata } from '@containerd-ts/metadata-level/maintenance'
import { databasePath, gatherEvidence } from '../evidence.js'
import { progressLine } from '../progress-line.js'
import { command } from './command.js'
import { configuration } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'
import { withoutDaemon } from './without-daemon.js'

export const metadataCheck = command({
  words: ['metadata', 'check'],
  summary: 'compare the metadata database with the content and the snapshots on disk',
  description:
    'Looks below --root, which no daemon may have open, and changes nothing. Fails when there is something that only a repair mends.',
  options: {
    verify: { type: 'boolean', doc: 'read all content and compare it with its digests' },
    format: formatOption,
  },
  async run({ values }) {
    const json = wantsJson(values.format)
    const config = await configuration(values)
    const findings = await withoutDaemon(config, async () => {
      const inspection = await inspectMetadata(databasePath(config))
      const line = progressLine()
      const { evidence, unreadable } = await gatherEvidence(config, { verify: values.verify === true, progress: line.show })
      line.clear()
      const unread = [...unreadable].map(([id, reason]) => ({
        severity: 'damage' as const,
        text: `the records of snapshotter ${id} cannot be read: ${reason}`,
      }))
      return [...compareWithEvidence(inspection, evidence), ...unread]
    })
    if (json) printJson(findings)
    else for (const { severity, text } of findings) process.stdout.write(`${severity}: ${text}\n`)
    const damage = findings.filter(({ severity }) => severity === 'damage').length
    if (damage > 0) throw new DataLossError(`${damage} ${damage === 1 ? 'thing is' : 'things are'} damaged`)
    if (!json) process.stdout.write(`the metadata in ${databasePath(config)} is sound\n`)
  },
})
