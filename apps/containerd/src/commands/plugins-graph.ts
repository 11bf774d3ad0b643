import { columns } from '../columns.js'
import { mermaid } from '../plugin-graph/mermaid.js'
import { askForPlugins, type GraphNode } from '../plugin-graph/model.js'
import { svg } from '../plugin-graph/svg.js'
import { command, UsageError } from './command.js'
import { addressOf } from './configuration.js'

const formats: Readonly<Record<string, (nodes: readonly GraphNode[]) => string>> = {
  table: (nodes) =>
    columns([['PLUGIN', 'STATUS', 'REQUIRES'], ...nodes.map(({ uri, state, needs }) => [uri, state, needs.join(' ') || '-'])]),
  json: (nodes) => `${JSON.stringify(nodes, null, 2)}\n`,
  mermaid,
  svg,
}

export const pluginsGraph = command({
  words: ['plugins', 'graph'],
  summary: 'show which plugin of the running daemon requires which',
  options: { format: { type: 'string', value: 'FORMAT', doc: `${Object.keys(formats).join(', ')} (default table)` } },
  async run({ values }) {
    const print = formats[values.format ?? 'table']
    if (print === undefined)
      throw new UsageError(`unknown format "${values.format}": expected one of ${Object.keys(formats).join(', ')}`)
    process.stdout.write(print(await askForPlugins(addressOf(values))))
  },
})
