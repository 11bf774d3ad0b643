import { type AnyRegistration, closest, defaultRegistry, type Field, uri } from '@containerd-ts/plugin'
import { askForPlugins, type GraphNode } from '../plugin-graph/model.js'
import { command, Failure, UsageError } from './command.js'
import { addressOf } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'

export const pluginsExplain = command({
  words: ['plugins', 'explain'],
  args: '<uri>',
  summary: 'tell of one plugin of the running daemon: its state and why, what it requires, what requires it',
  description:
    'The plugin is named as in the configuration, type.id: io.containerd.snapshotter.v1.overlayfs. An id that only one has is enough.',
  options: { format: formatOption },
  async run({ values, args }) {
    const [name, ...rest] = args
    if (name === undefined || rest.length > 0) throw new UsageError('plugins explain needs the URI of one plugin')
    const json = wantsJson(values.format)
    const nodes = await askForPlugins(addressOf(values))
    const node = find(nodes, name)
    if (json) printJson(node)
    else
      process.stdout.write(
        text(
          node,
          nodes,
          defaultRegistry()
            .list()
            .find((r) => uri(r) === node.uri),
        ),
      )
  },
})

function find(nodes: readonly GraphNode[], name: string): GraphNode {
  const found = nodes.filter((node) => node.uri === name)
  const matching = found.length > 0 ? found : nodes.filter((node) => node.id === name)
  const [only, ...others] = matching
  if (only === undefined) {
    const near = closest(
      name,
      nodes.flatMap(({ uri, id }) => [uri, id]),
    )
    throw new Failure(`this daemon has no plugin "${name}"${near === undefined ? '' : `; did you mean "${near}"?`}`)
  }
  if (others.length > 0) throw new Failure(`several plugins are called "${name}": ${matching.map((n) => n.uri).join(', ')}`)
  return only
}

function text(node: GraphNode, nodes: readonly GraphNode[], registration: AnyRegistration | undefined): string {
  const states = { ok: 'loaded', skip: 'skipped', error: 'failed' } as const
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? [] : [`${title}:`, ...items.map((i) => `  ${i}`)]
  const required = node.requires.map((type) => {
    if (type === '*') return '* (everything before it)'
    const plugins = nodes.filter((other) => other.type === type).map((other) => `${other.id} (${states[other.state]})`)
    return `${type}: ${plugins.length === 0 ? 'nothing' : plugins.join(', ')}`
  })
  const config = Object.entries<Field<unknown>>(registration?.config ?? {}).map(
    ([key, field]) => `${key} = ${JSON.stringify(field.encode(field.default))}   ${field.doc}`,
  )
  return `${[
    node.uri,
    `${states[node.state]}${node.error === undefined ? '' : `: ${node.error}`}`,
    ...list('requires', required),
    ...list('required by', node.neededBy),
    ...list('platforms', node.platforms),
    ...list('capabilities', node.capabilities),
    ...list(
      'exports',
      Object.entries(node.exports).map(([key, value]) => `${key} = ${value}`),
    ),
    ...list(`configuration, [plugins."${node.uri}"], with defaults`, config),
  ].join('\n')}\n`
}
