import { chmod, chown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type AnyRegistration, type PluginStatus, register, uri } from '@containerd-ts/plugin'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLogger, type Daemon, daemonConfig, serve } from '../src/index.js'

let dir: string
let daemon: Daemon | undefined
let lines: string[]

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'external-'))
  lines = []
})
afterEach(async () => {
  await daemon?.close()
  daemon = undefined
  await rm(dir, { recursive: true })
})

const plugins = (...path: string[]) => join(dir, 'root/plugins', ...path)

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  await writeFile(path, text, { mode: 0o644 })
}

async function putPackage(name: string, manifest: object, source: string): Promise<void> {
  const keywords = ['containerd-plugin']
  const full = { name, version: '1.2.3', type: 'module', keywords, exports: './main.js', ...manifest }
  const path = plugins('node_modules', name)
  await put(join(path, 'package.json'), JSON.stringify(full))
  await put(join(path, 'main.js'), source)
}

const greeting: AnyRegistration = { type: 'example.greeting.v1', id: 'builtin', init: () => ({ greet: () => 'hello' }) }
const app: AnyRegistration = {
  type: 'example.app.v1',
  id: 'app',
  after: ['example.greeting.v1'],
  init: (ic) => ({ ids: [...ic.getAll('example.greeting.v1').keys()] }),
}

async function boot(table: Record<string, unknown> = {}): Promise<Map<string, PluginStatus>> {
  const timeouts = { 'io.containerd.timeout.plugin.load': '700ms' }
  const config = daemonConfig(
    { table: { timeouts, ...table }, files: [] },
    { root: join(dir, 'root'), state: join(dir, 'state') },
  )
  const log = createLogger({ level: 'info', format: 'text', write: (line) => lines.push(line) })
  daemon = await serve(config, { log, registrations: [greeting, app] })
  return new Map(daemon.plugins.plugins().map((plugin) => [uri(plugin), plugin]))
}

const source = (id: string, rest = '') =>
  `export const plugin = { type: 'example.greeting.v1', id: '${id}', api: '^1.0.0', init: (ic) => ({ greet: () => ic.config }) ${rest} }`

test('files and packages are loaded, in the order that they need', async () => {
  await put(plugins('one.mjs'), source('file'))
  await putPackage('plain', { containerd: { pluginApi: '^1.0.0' } }, source('package'))
  await putPackage('@scope/deep', { containerd: { pluginApi: '1' }, exports: { '.': { import: './main.js' } } }, source('scoped'))
  await putPackage('no-plugin', { keywords: [] }, 'throw new Error("must not be loaded")')
  const loaded = await boot()
  expect(loaded.get('example.app.v1.app')?.instance).toEqual({ ids: ['builtin', 'file', 'scoped', 'package'] })
  expect(loaded.get('example.greeting.v1.file')?.meta.exports).toEqual({ source: plugins('one.mjs') })
  expect(loaded.get('example.greeting.v1.package')?.meta.exports).toEqual({ source: 'plain@1.2.3' })
  expect(loaded.size).toBe(5)
})

test('with a package.json only what it depends on is loaded', async () => {
  await put(plugins('package.json'), JSON.stringify({ dependencies: { wanted: '1' } }))
  await putPackage('wanted', { containerd: { pluginApi: '^1.0.0' } }, source('wanted'))
  await putPackage('dependency', { containerd: { pluginApi: '^1.0.0' } }, source('dependency'))
  expect((await boot()).get('example.app.v1.app')?.instance).toEqual({ ids: ['builtin', 'wanted'] })
})

test('a module may register instead of export, also through a registry that another copy made', async () => {
  const shared = globalThis as unknown as Record<string, unknown>
  shared['registerForTest'] = register
  await put(
    plugins('registers.mjs'),
    `registerForTest({ type: 'example.greeting.v1', id: 'registered', api: '1.x', init: () => ({}) })`,
  )
  expect((await boot()).get('example.app.v1.app')?.instance).toEqual({ ids: ['builtin', 'registered'] })
})

test.each<[string, string, RegExp]>([
  ['throws when loaded', 'throw new Error("no luck")', /^no luck$/],
  ['throws no error', 'throw 7', /^7$/],
  ['is no JavaScript', 'export const = ', /Unexpected token/],
  ['hangs when loaded', 'await new Promise(() => {})', /^loading .*bad\.mjs did not finish within 700 ms$/],
  ['exports nothing', 'export const x = 1', /exports no plugin: export a registration/],
  [
    'takes a name',
    source('builtin'),
    /^the name "example\.greeting\.v1\.builtin" is taken by this daemon: this plugin needs another id$/,
  ],
  [
    'says nothing of its API',
    source('x').replace("api: '^1.0.0',", ''),
    /does not say which plugin API .* api: '\^1\.0\.0' in its registration/,
  ],
  [
    'says nonsense of its API',
    source('x').replace('^1.0.0', 'newest'),
    /"newest" is no version range: write for instance "\^1\.0\.0"/,
  ],
  [
    'was made for another major',
    source('x').replace('^1.0.0', '^2.1.0'),
    /^it was made for plugin API \^2\.1\.0, this daemon has 1\.0\.0: install a version of it for plugin API 1, or a daemon/,
  ],
  ['has no id', source(''), /type and id must be non-empty strings/],
  ['has configuration that is none', source('x', ', config: { a: 1 }'), /the configuration key a is no field/],
  ['throws at init', source('x', ', init() { throw new Error("disk on fire") }'), /^disk on fire$/],
  [
    'hangs at init',
    source('x', ', init: () => new Promise(() => {})'),
    /^init of plugin "example\.greeting\.v1\.x" did not finish within 700 ms$/,
  ],
  [
    'requires what is not there',
    source('x', `, requires: ['example.none.v1']`),
    /requires "example\.none\.v1", which nothing registers/,
  ],
  ['makes a circle', source('x', `, requires: ['example.app.v1']`), /in a circle: .*example\.greeting\.v1\.x/],
])('a plugin that %s harms nothing but itself, and is shown', async (_what, text, reason) => {
  await put(plugins('bad.mjs'), text)
  await put(plugins('good.mjs'), source('good'))
  const loaded = await boot()
  expect(loaded.get('example.app.v1.app')?.instance).toEqual({ ids: ['builtin', 'good'] })
  const failed = [...loaded.values()].filter((plugin) => plugin.error !== undefined)
  expect(failed).toHaveLength(1)
  expect(failed[0]?.error?.message).toMatch(reason)
  expect(failed[0]?.meta.exports).toEqual({ source: plugins('bad.mjs') })
  expect(lines.some((line) => /level=(error|warning)/.test(line) && line.includes(uri(failed[0] ?? { type: '', id: '' })))).toBe(
    true,
  )
})

test('a package for another plugin API is refused before its code is run', async () => {
  await putPackage('future', { containerd: { pluginApi: '^2.0.0' } }, `globalThis.futureWasLoaded = true; ${source('future')}`)
  const loaded = await boot()
  expect(loaded.get('io.containerd.external.v1.future')?.error?.message).toContain('made for plugin API ^2.0.0')
  expect(Object.hasOwn(globalThis, 'futureWasLoaded')).toBe(false)
})

test.each([
  ['the directory', () => chmod(plugins(), 0o777), /plugins can be written by others: `chmod -R go-w/],
  ['the module', () => chmod(plugins('node_modules/p/main.js'), 0o666), /main\.js can be written by others/],
  ['a directory on the way', () => chmod(plugins('node_modules'), 0o775), /node_modules can be written by others/],
  ['a dependency', () => chmod(plugins('node_modules/q/main.js'), 0o646), /q\/main\.js can be written by others/],
  [
    'what a link leads to',
    async () => {
      await put(join(dir, 'elsewhere'), '')
      await chmod(join(dir, 'elsewhere'), 0o666)
      await symlink(join(dir, 'elsewhere'), plugins('node_modules/p/data'))
    },
    /elsewhere can be written by others/,
  ],
])('code is not loaded when others can write %s', async (_what, loosen, reason) => {
  await putPackage(
    'p',
    { containerd: { pluginApi: '^1.0.0' }, dependencies: { q: '1' } },
    `globalThis.looseWasLoaded = true; ${source('p')}`,
  )
  await putPackage('q', { keywords: [] }, '')
  await loosen()
  expect((await boot()).get('io.containerd.external.v1.p')?.error?.message).toMatch(reason)
  expect(Object.hasOwn(globalThis, 'looseWasLoaded')).toBe(false)
})

test.runIf(process.getuid?.() === 0)('code of other users is not loaded', async () => {
  await put(plugins('theirs.mjs'), source('theirs'))
  await chown(plugins('theirs.mjs'), 1234, 1234)
  expect((await boot()).get('io.containerd.external.v1.theirs.mjs')?.error?.message).toMatch(
    /belongs to user 1234, not to the daemon's/,
  )
})

test('a single module is not loaded when others can write what it may import', async () => {
  await put(plugins('single.mjs'), source('single'))
  await put(plugins('lib/part.js'), '')
  await chmod(plugins('lib/part.js'), 0o666)
  const loaded = await boot()
  expect(loaded.get('io.containerd.external.v1.single.mjs')?.error?.message).toMatch(/lib\/part\.js can be written by others/)
})

test('an entry point outside of its package is refused', async () => {
  await put(plugins('outside.txt'), '')
  await putPackage('p', { containerd: { pluginApi: '^1.0.0' }, exports: './../../outside.txt' }, source('p'))
  const loaded = await boot()
  expect(loaded.get('io.containerd.external.v1.p')?.error?.message).toMatch(/lies outside of the package/)
})

test('a package that was linked to is loaded from where it is', async () => {
  await putPackage('linked', { containerd: { pluginApi: '^1.0.0' } }, source('linked'))
  await rename(plugins('node_modules/linked'), join(dir, 'source'))
  await symlink(join(dir, 'source'), plugins('node_modules/linked'))
  expect((await boot()).get('example.app.v1.app')?.instance).toEqual({ ids: ['builtin', 'linked'] })
})

test('a plugin directory that is none does not keep the daemon from starting', async () => {
  await put(plugins(), 'a file')
  const loaded = await boot()
  expect(loaded.get('io.containerd.external.v1.plugins')?.error?.message).toMatch(/ENOTDIR/)
  expect(loaded.get('example.app.v1.app')?.error).toBeUndefined()
})

test('a disabled module is not even loaded', async () => {
  await put(plugins('unwanted.mjs'), 'globalThis.unwantedWasLoaded = true')
  const loaded = await boot({ disabled_plugins: ['io.containerd.external.v1.unwanted.mjs'] })
  expect([...loaded.keys()]).toEqual(['example.greeting.v1.builtin', 'example.app.v1.app'])
  expect(Object.hasOwn(globalThis, 'unwantedWasLoaded')).toBe(false)
})

test('two of the same name: the first one stays', async () => {
  await put(plugins('a.mjs'), source('same'))
  await put(plugins('b.mjs'), source('same'))
  const loaded = await boot()
  expect(loaded.get('example.greeting.v1.same')?.meta.exports).toEqual({ source: plugins('a.mjs') })
  expect(loaded.get('io.containerd.external.v1.b.mjs')?.error?.message).toContain(`is taken by ${plugins('a.mjs')}`)
})
