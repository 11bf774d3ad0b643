import { type Inspection, inspectMetadata } from '@containerd-ts/metadata-level/maintenance'
import { columns } from '../columns.js'
import { databasePath } from '../evidence.js'
import { readable } from '../readable.js'
import { command } from './command.js'
import { configuration } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'
import { withoutDaemon } from './without-daemon.js'

export const metadataDump = command({
  words: ['metadata', 'dump'],
  summary: 'print the records of the metadata database',
  description:
    'Reads the database below --root, which no daemon may have open, and changes nothing. What is damaged is left out and told.',
  options: {
    namespace: { type: 'string', short: 'n', value: 'NS', doc: 'only records of this namespace' },
    kind: {
      type: 'string',
      short: 'k',
      value: 'KIND',
      doc: 'only namespace, container, image, content, ingest, snapshot, lease or resource',
    },
    format: formatOption,
  },
  async run({ values }) {
    const json = wantsJson(values.format)
    const config = await configuration(values)
    const { layout, entries, problems } = await withoutDaemon(config, () => inspectMetadata(databasePath(config)))
    const records = entries
      .filter(({ table }) => table.name !== 'schema' && (values.kind === undefined || table.name === values.kind))
      .filter(({ entry }) => values.namespace === undefined || entry.id[0] === values.namespace)
      .map(({ table, entry }) => ({ kind: table.name, id: entry.id, record: readable(entry.record) }))
    if (json) printJson({ layout, problems, records })
    else process.stdout.write(table(records))
    if (!json) for (const problem of problems) process.stderr.write(`containerd: damaged: ${problem}\n`)
  },
})

type Dumped = { kind: string; id: Inspection['entries'][number]['entry']['id']; record: unknown }

function table(records: readonly Dumped[]): string {
  const rows = records.map(({ kind, id: [namespace = '', ...id], record }) => [
    kind,
    namespace,
    id.join(' '),
    JSON.stringify(record),
  ])
  return columns([['KIND', 'NAMESPACE', 'ID', 'RECORD'], ...rows])
}
