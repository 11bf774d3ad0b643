import { columns } from '../columns.js'
import { askForPlugins } from '../plugin-graph/model.js'
import { command } from './command.js'
import { addressOf } from './configuration.js'
import { formatOption, printJson, wantsJson } from './format.js'

export const pluginsLs = command({
  words: ['plugins', 'ls'],
  summary: 'list the plugins of the running daemon',
  description: 'With what became of them: ok, skip (it cannot work on this machine) or error, and the reason.',
  options: { format: formatOption },
  async run({ values }) {
    const json = wantsJson(values.format)
    const nodes = await askForPlugins(addressOf(values))
    if (json) return printJson(nodes)
    const rows = nodes.map(({ type, id, platforms, state, error = '', exports }) => [
      type,
      id,
      platforms.join(',') || '-',
      state,
      state === 'ok' ? (exports['source'] ?? '') : error,
    ])
    process.stdout.write(columns([['TYPE', 'ID', 'PLATFORMS', 'STATUS', ''], ...rows]))
  },
})
