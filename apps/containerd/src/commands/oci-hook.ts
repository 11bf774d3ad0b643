import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { json } from 'node:stream/consumers'
import { command, Failure, UsageError } from './command.js'

/** Specs made by containerd's client name this command as a hook, with the hook proper and its templates behind it. */
export const ociHook = command({
  words: ['oci-hook'],
  args: '<program> [<argument>...]',
  verbatim: true,
  summary: 'run a program as a hook of an OCI runtime, told which container it is for',
  description: `Takes the state of the container from standard input, as OCI runtimes give it to hooks. In the arguments and in the
environment of the program {{id}}, {{pid}}, {{status}}, {{bundle}}, {{rootfs}} and {{annotation "key"}} stand for what they
name.`,
  options: {},
  async run({ args }) {
    if (args.length === 0) throw new UsageError('oci-hook needs a program')
    const state = record(await json(process.stdin), 'the state on standard input')
    const render = renderer(state, await rootOf(text(state, 'bundle')))
    const [program = '', ...rest] = args.map(render)
    const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, render(value ?? '')]))
    const child = spawn(program, rest, { env, stdio: ['ignore', 'inherit', 'inherit'] })
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    process.exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
  },
})

/** Puts what is known of a container into the places for it. */
function renderer(state: Readonly<Record<string, unknown>>, root: string): (template: string) => string {
  const known: Readonly<Record<string, (key: string | undefined) => string>> = {
    id: () => text(state, 'id'),
    pid: () => text(state, 'pid'),
    status: () => text(state, 'status'),
    bundle: () => text(state, 'bundle'),
    rootfs: () => (isAbsolute(root) ? root : join(text(state, 'bundle'), root)),
    annotation: (key = '') => text(record(state['annotations'] ?? {}, 'annotations'), key),
  }
  return (template) =>
    template.replaceAll(/\{\{(.*?)\}\}/gs, (place, inside: string) => {
      const [, name = '', quoted] = /^\s*(\w+)(?:\s+("(?:[^"\\]|\\.)*"|`[^`]*`))?\s*$/.exec(inside) ?? []
      const value = Object.hasOwn(known, name) ? known[name] : undefined
      if (value === undefined || (quoted !== undefined) !== (name === 'annotation'))
        throw new Failure(`oci-hook: nothing is known as ${place}; there are ${Object.keys(known).join(', ')}`)
      return value(quoted?.startsWith('`') ? quoted.slice(1, -1) : quoted && String(JSON.parse(quoted)))
    })
}

/** Where the spec of a bundle says that the root filesystem is. */
async function rootOf(bundle: string): Promise<string> {
  const path = join(bundle, 'config.json')
  const spec = record(JSON.parse(await readFile(path, 'utf8')), path)
  return text(record(spec['root'] ?? {}, `${path}: root`), 'path')
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Failure(`oci-hook: ${what} is no JSON object`)
  return value as Readonly<Record<string, unknown>>
}

/** A field as text; one that is missing is empty. */
function text(from: Readonly<Record<string, unknown>>, key: string): string {
  const value = Object.hasOwn(from, key) ? from[key] : undefined
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
