import { defaultRegistry } from '@containerd-ts/plugin'
import { checkConfig } from '@containerd-ts/server'
import { command, Failure } from './command.js'
import { allPlugins, loadDocument, overrides } from './configuration.js'

export const configCheck = command({
  words: ['config', 'check'],
  summary: 'look for mistakes in the configuration',
  description: `Prints every unknown key and every value of the wrong type with file, line and what to write instead, and warns of what has no
effect. Plugins from outside are loaded, so that their keys are known, but not started. Ends with status 1 when there are errors.`,
  options: {},
  async run({ values, stop }) {
    const document = await loadDocument(values.config)
    // Where the plugins from outside lie is in the configuration that is to be checked.
    const { config } = checkConfig(document, overrides(values), defaultRegistry().list())
    const { problems } = checkConfig(document, overrides(values), await allPlugins(config, stop))
    for (const { severity, message } of problems) process.stdout.write(`${severity}: ${message}\n`)
    const errors = problems.filter(({ severity }) => severity === 'error').length
    if (errors > 0) throw new Failure(`the configuration has ${errors} ${errors === 1 ? 'error' : 'errors'}`)
    const files = document.files.map(({ path }) => path)
    process.stdout.write(`no errors in ${files.length === 0 ? 'the defaults' : files.join(', ')}\n`)
  },
})
