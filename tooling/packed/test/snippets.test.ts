import { cp, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hostConfigurations } from '@containerd-ts/remotes'
import { buildBusyboxImage } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { documentedSnippets } from '../src/index.js'
import { type Outside, openOutside } from './environment.js'

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

const isRoot = process.getuid?.() === 0
const snippets = documentedSnippets()
const typescript = snippets
  .filter(({ language }) => language === 'ts')
  .map((snippet, index) => ({
    ...snippet,
    name: `${String(index).padStart(3, '0')}${snippet.flags.includes('serves') ? '.serves' : ''}`,
  }))
const runs = typescript.filter(({ flags }) => !flags.includes('no-run'))

let outside: Outside
let problems = ''
const project = () => join(outside.dir, 'everything')
const containerd = () => join(project(), 'node_modules/.bin/containerd')

beforeAll(async () => {
  outside = await openOutside()
  await mkdir(join(project(), 'snippets'), { recursive: true })
  await writeFile(join(project(), 'package.json'), '{ "private": true, "type": "module" }')
  const wanted = [...outside.packages, 'typescript@~7.0.2', '@types/node@20', '@grpc/grpc-js']
  await outside.run(['npm', 'install', ...wanted], 'everything')
  for (const { name, code } of typescript) await writeFile(join(project(), `snippets/${name}.mts`), `${code}\nexport {}\n`)
  const options = [
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--strict',
    '--skipLibCheck',
    '--types',
    'node',
    '--outDir',
    'run',
  ]
  const files = typescript.map(({ name }) => `snippets/${name}.mts`)
  problems = (await outside.attempt(['npx', 'tsc', ...options, ...files], 'everything')).stdout

  if (!isRoot) return
  // What snippets find in their directory.
  const { archive, layout } = await buildBusyboxImage(project())
  await cp(archive, join(project(), 'busybox.tar'))
  const layer = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')).manifests[0].digest.replace(':', '/')
  const manifest = JSON.parse(await readFile(join(layout, 'blobs', layer), 'utf8'))
  await cp(join(layout, 'blobs', manifest.layers[0].digest.replace(':', '/')), join(project(), 'layer.tar.gz'))
  for (const { name, flags } of typescript) {
    if (flags.includes('no-run')) await outside.run(['rm', '-f', `run/${name}.mjs`], 'everything')
  }
  const script = fileURLToPath(new URL('run-snippets.sh', import.meta.url))
  await outside.run(['unshare', '--mount', '--propagation', 'private', 'bash', script, project()])
})
afterAll(() => outside?.close())

test.each(typescript)('$place compiles', ({ name }) => {
  const own = problems.split('\n').filter((line) => line.includes(`${name}.mts`))
  expect(own).toEqual([])
})

describe.runIf(isRoot)('in a directory of its own', () => {
  test.each(runs)('$place runs', async ({ name }) => {
    const path = join(project(), `run/${name}.mjs`)
    const output = await readFile(`${path}.out`, 'utf8')
    expect({ code: (await readFile(`${path}.code`, 'utf8')).trim(), output }).toEqual({ code: '0', output })
  })
})

const configurations = snippets.filter(({ language }) => language === 'toml')

test.each(configurations.filter(({ flags }) => flags.includes('hosts')))('$place names hosts', async ({ code }) => {
  const hostDir = await mkdtemp(join(project(), 'hosts-'))
  await mkdir(join(hostDir, 'docker.io'))
  await writeFile(join(hostDir, 'docker.io/hosts.toml'), code)
  const hosts = await hostConfigurations('docker.io', { hostDir })
  expect(hosts.map(({ host }) => host)).toEqual(['mirror.example', 'registry-1.docker.io'])
})

test.each(configurations.filter(({ flags }) => !flags.includes('hosts')))(
  '$place is a configuration without mistakes',
  async ({ code, place }) => {
    const path = join(project(), `${place.replace(/\W/g, '-')}.toml`)
    await writeFile(path, code)
    const { stdout } = await outside.attempt([containerd(), '--config', path, 'config', 'check'])
    expect(stdout).not.toMatch(/^error/m)
    expect(stdout).toContain('no errors')
  },
)

const commands = snippets
  .filter(({ language }) => language === 'sh')
  .flatMap(({ code, place }) => code.split('\n').map((line) => ({ place, line: line.replace(/[|>#&].*/, '').trim() })))
  .filter(({ line }) => line.startsWith('containerd '))

test.each(commands)('$place: $line is a command', async ({ line }) => {
  const [, ...args] = line.split(/\s+/)
  const { code, stderr } = await outside.attempt([containerd(), ...args, '--help'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})
