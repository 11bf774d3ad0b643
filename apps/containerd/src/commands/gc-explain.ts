import { askWhyKept, type ExplainQuestion } from '@containerd-ts/gc-scheduler/questions'
import type { Explanation, ObjectKind, ObjectName } from '@containerd-ts/interface'
import { askingCollector } from './asking-collector.js'
import { command, UsageError } from './command.js'
import { addressOf } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'

const kinds: readonly ObjectKind[] = ['lease', 'image', 'container', 'content', 'snapshot', 'ingest']

export const gcExplain = command({
  words: ['gc', 'explain'],
  args: '<object>',
  summary: 'say why something is kept, or that nothing keeps it',
  description: `The object is the digest of content, the name of an image, the key of a snapshot, or the id of a lease, container or
ingest. A kind in front of it tells those of the same name apart: ${kinds.map((kind) => `${kind}/…`).join(', ')};
a snapshotter may stand in between: snapshot/overlayfs/….`,
  options: {
    namespace: { type: 'string', short: 'n', value: 'NS', doc: 'namespace of the object (default "default")' },
    format: formatOption,
  },
  async run({ values, args }) {
    const [name, ...rest] = args
    if (name === undefined || rest.length > 0) throw new UsageError('gc explain needs one object')
    const json = wantsJson(values.format)
    const question = questionOf(values.namespace ?? 'default', name)
    const explanations = await askingCollector(addressOf(values), (ask) => askWhyKept(ask, question))
    if (json) printJson(explanations)
    else process.stdout.write(explanations.map(textOf).join('\n'))
  },
})

function questionOf(namespace: string, name: string): ExplainQuestion {
  const [first = '', ...rest] = name.split('/')
  const kind = kinds.find((known) => known === first)
  if (kind === undefined || rest.length === 0) return { namespace, id: name }
  if (kind === 'snapshot' && rest.length > 1) return { namespace, kind, snapshotter: rest[0] ?? '', id: rest.slice(1).join('/') }
  return { namespace, kind, id: rest.join('/') }
}

function textOf({ object, exists, kept, because, keepers }: Explanation): string {
  const name = `${nameOf(object)} in namespace ${object.namespace}`
  if (!exists) return `${name} does not exist${kept ? ', but something refers to it' : ''}\n${wayOf(because)}`
  if (!kept) return `${name} is kept by nothing: the next collection removes it\n`
  const others = keepers.length - 1
  const more = others > 0 ? `  and ${others} more ${others === 1 ? 'reason' : 'reasons'} of its own, see --format json\n` : ''
  return `${name} is kept\n${wayOf(because)}${more}`
}

function wayOf(because: Explanation['because']): string {
  return because
    .map(({ by, how }) => (by === undefined ? `  which is kept by itself: ${how}\n` : `  by ${nameOf(by)}: ${how}\n`))
    .join('')
}

function nameOf({ kind, id, snapshotter }: ObjectName): string {
  return `${kind} ${snapshotter === undefined ? '' : `${snapshotter}/`}${id}`
}
