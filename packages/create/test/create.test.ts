import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { choose, plugins } from '../src/plugins.js'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'create-'))
})
afterEach(() => rm(dir, { recursive: true }))

// Built, as its users have it: templates and versions lie beside the compiled code.
const create = async () => (await import('../dist/project.js')) as typeof import('../src/project.js')

test('what a plugin needs comes along, and what a client needs to look', () => {
  expect(choose(['service-content'])).toEqual([
    'content-local',
    'events-exchange',
    'metadata-level',
    'service-content',
    'service-introspection',
    'service-version',
  ])
  expect(choose(['full'])).toEqual(Object.keys(plugins))
  expect(() => choose(['contnet'])).toThrow('there is no plugin or preset "contnet"')
})

test('every plugin of the table is a package of this workspace', async () => {
  for (const name of Object.keys(plugins)) {
    const manifest = JSON.parse(await readFile(new URL(`../../${name}/package.json`, import.meta.url), 'utf8'))
    expect(manifest.keywords).toContain('containerd-plugin')
  }
})

test.each(['daemon', 'snapshotter', 'service'] as const)(
  'a %s has its name everywhere and versions of what it needs',
  async (kind) => {
    const { createProject } = await create()
    const files = await createProject({ kind, name: 'my-own', directory: dir, plugins: ['full'] })
    expect(files).toContain('.gitignore')
    for (const file of files) {
      const text = await readFile(join(dir, file), 'utf8')
      expect(`${file} ${text}`).not.toContain('__name__')
    }
    const manifest = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8'))
    expect(manifest).toMatchObject({ name: 'my-own', devDependencies: { typescript: expect.stringMatching(/^~7/) } })
    if (kind === 'daemon') expect(files).toContain('systemd/my-own.service')
  },
)

test('nothing is overwritten, and a name is checked', async () => {
  const { createProject } = await create()
  await writeFile(join(dir, 'mine'), '')
  await expect(createProject({ kind: 'daemon', name: 'x', directory: dir })).rejects.toThrow(`${dir} is not empty`)
  await expect(createProject({ kind: 'daemon', name: '../x', directory: dir })).rejects.toThrow('"../x" is no name for a project')
})
