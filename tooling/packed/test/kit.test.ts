import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exec } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { firstTypeScript } from '../src/index.js'
import { type Outside, openOutside, whileServing } from './environment.js'

// npm installs what the packages depend on.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

let outside: Outside
beforeAll(async () => {
  outside = await openOutside()
})
afterAll(() => outside?.close())

const isRoot = process.getuid?.() === 0

describe('libraries', () => {
  beforeAll(async () => {
    await outside.directory('libraries')
    await writeFile(join(outside.dir, 'libraries/package.json'), '{ "private": true, "type": "module" }')
    const packages = ['content-local', 'events-exchange', 'metadata-level', 'server', 'service-content', 'service-namespaces']
    const names = [...packages, 'service-introspection', 'service-version'].map((name) => `@containerd-ts/${name}`)
    await outside.run(['npm', 'install', ...names], 'libraries')
  })

  test('a content store and a metadata database in ten lines, without root and without a daemon', async () => {
    await writeFile(join(outside.dir, 'libraries/embed.js'), firstTypeScript('docs/getting-started.md'))
    const data = await outside.directory('data')
    const command: [string, ...string[]] = ['node', 'embed.js', data]
    if (isRoot) {
      await outside.run(['chown', '65534:65534', data])
      command.unshift('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups')
    }
    const printed = await outside.run(command, 'libraries')
    expect(printed).toBe('sha256:254ebba46eda7dad4c836ef69baa87bc19e6220721417e915ea69035edfdaf3b hello, content store\n')
    expect((await stat(join(data, 'meta'))).uid).not.toBe(0)
  })

  test('a daemon of six plugins has those and nothing else', async () => {
    await writeFile(join(outside.dir, 'libraries/daemon.js'), firstTypeScript('docs/assembling-a-daemon.md'))
    const address = join(outside.dir, 'six.sock')
    const command = ['node', 'daemon.js', join(outside.dir, 'six-root'), join(outside.dir, 'six-state'), address] as const
    await whileServing(command, { cwd: join(outside.dir, 'libraries'), address }, async (ctr) => {
      const rows = (await ctr('plugins', 'ls')).trim().split('\n').slice(1)
      expect(rows.map((row) => row.trim().split(/\s+/).join(' '))).toEqual([
        'io.containerd.content.v1 content - ok',
        'io.containerd.event.v1 exchange - ok',
        'io.containerd.metadata.v1 level - ok',
        'io.containerd.grpc.v1 content - ok',
        'io.containerd.grpc.v1 namespaces - ok',
        'io.containerd.grpc.v1 introspection - ok',
        'io.containerd.grpc.v1 version - ok',
        'io.containerd.server.v1 grpc - ok',
      ])
      await ctr('namespaces', 'create', 'example')
      expect(await ctr('--namespace', 'example', 'content', 'ls')).toMatch(/^DIGEST/)
    })
  })
})

test('npm create makes a daemon that builds into one script, passes its tests and runs', async () => {
  await outside.run(['npm', 'create', '--yes', '@containerd-ts', 'my-daemon', '--', '--plugins', 'images'])
  await outside.run(['npm', 'install'], 'my-daemon')
  await outside.run(['npm', 'run', 'build'], 'my-daemon')
  expect(await outside.run(['npm', 'test'], 'my-daemon')).toMatch(/# pass 2\n# fail 0|pass 2\n.*fail 0/)
  expect((await readdir(join(outside.dir, 'my-daemon'))).sort()).toEqual(
    expect.arrayContaining(['Dockerfile', 'README.md', 'build.mjs', 'config.toml', 'systemd']),
  )

  // What its Dockerfile and its systemd unit put in place: the script, and two packages with native code.
  const deployed = await outside.directory('deployed')
  await cp(join(outside.dir, 'my-daemon/dist'), join(deployed, 'dist'), { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) await cp(join(outside.dir, 'my-daemon', file), join(deployed, file))
  await outside.run(['npm', 'ci', '--omit=dev'], 'deployed')
  expect(await readdir(join(deployed, 'node_modules'))).not.toContain('@containerd-ts')
  const address = join(outside.dir, 'my.sock')
  const config = (await readFile(join(outside.dir, 'my-daemon/config.toml'), 'utf8'))
    .replace('/var/lib/my-daemon', join(outside.dir, 'my-root'))
    .replace('"/run/my-daemon"', `"${join(outside.dir, 'my-state')}"`)
    .replace('/run/my-daemon/containerd.sock', address)
  await writeFile(join(deployed, 'config.toml'), config)
  await whileServing(['node', 'dist/my-daemon.cjs', 'config.toml'], { cwd: deployed, address }, async (ctr) => {
    expect(await ctr('plugins', 'ls')).toMatch(/^io\.containerd\.snapshotter\.v1 +native +\S+ +ok/m)
    expect(await ctr('images', 'ls')).toMatch(/^REF/)
  })
})

describe.runIf(isRoot)('the packed daemon', () => {
  let containerd: string
  const places = (name: string) => {
    const [root, state, address] = ['root', 'state', 'sock'].map((part) => join(outside.dir, `${name}-${part}`)) as [
      string,
      string,
      string,
    ]
    return { root, state, address, args: ['--root', root, '--state', state, '--address', address] }
  }

  beforeAll(async () => {
    await outside.directory('packed')
    await writeFile(join(outside.dir, 'packed/package.json'), '{ "private": true }')
    await outside.run(['npm', 'install', '@containerd-ts/containerd'], 'packed')
    containerd = join(outside.dir, 'packed/node_modules/.bin/containerd')
  })

  test('a snapshotter of one file passes the conformance suite, is added by name and used', async () => {
    await outside.run(['npm', 'create', '--yes', '@containerd-ts', 'my-snapshotter', '--', '--kind', 'snapshotter'])
    await outside.run(['npm', 'install'], 'my-snapshotter')
    expect(await outside.run(['npm', 'test'], 'my-snapshotter')).toMatch(/pass \d{2}\n.*fail 0\n/)
    await outside.run(['npm', 'pack'], 'my-snapshotter')

    const { address, args } = places('added')
    const tarball = join(outside.dir, 'my-snapshotter/my-snapshotter-0.1.0.tgz')
    const added = await outside.run([containerd, ...args, 'plugins', 'add', tarball])
    expect(added).toBe(
      'my-snapshotter@0.1.0 has io.containerd.snapshotter.v1.my-snapshotter; the daemon loads it at its next start\n',
    )
    await whileServing([containerd, ...args], { cwd: outside.dir, address }, async (ctr) => {
      expect(await ctr('plugins', 'ls')).toMatch(/^io\.containerd\.snapshotter\.v1 +my-snapshotter +linux\/\S+ +ok/m)
      await ctr('snapshots', '--snapshotter', 'my-snapshotter', 'prepare', 'k')
      expect(await ctr('snapshots', '--snapshotter', 'my-snapshotter', 'ls')).toMatch(/^k +Active/m)
    })
    await outside.run([containerd, ...args, 'plugins', 'rm', 'my-snapshotter'])
    expect(await outside.run([containerd, ...args, 'config', 'dump'])).not.toContain('my-snapshotter')
  })

  test('a service of one file is built into one file, put into the plugin directory and served', async () => {
    await outside.run(['npm', 'create', '--yes', '@containerd-ts', 'my-service', '--', '--kind', 'service'])
    await outside.run(['npm', 'install'], 'my-service')
    await outside.run(['npm', 'run', 'build'], 'my-service')
    expect(await outside.run(['npm', 'test'], 'my-service')).toMatch(/pass 1\n.*fail 0\n/)

    const { root, address, args } = places('dropped')
    await mkdir(join(root, 'plugins'), { recursive: true })
    await cp(join(outside.dir, 'my-service/dist/my-service.mjs'), join(root, 'plugins/my-service.mjs'))
    await whileServing([containerd, ...args], { cwd: outside.dir, address }, async (ctr) => {
      expect(await ctr('plugins', 'ls')).toMatch(/^io\.containerd\.grpc\.v1 +my-service +- +ok/m)
      const { stdout } = await exec(containerd, ['--address', address, 'plugins', 'explain', 'my-service'])
      expect(stdout).toContain('io.containerd.metadata.v1: level (loaded)')
      expect(stdout).toContain(`source = ${join(root, 'plugins/my-service.mjs')}`)
    })
  })

  test('a plugin is added by its name, and told when the daemon has it already', async () => {
    const { args } = places('twice')
    const { code, stderr } = await outside.attempt([containerd, ...args, 'plugins', 'add', '@containerd-ts/snapshot-native'])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^containerd: @containerd-ts\/snapshot-native@\d\S+ was installed but will not be loaded: the name "io\.containerd\.snapshotter\.v1\.native" is taken by this daemon/m,
    )
  })

  test('a plugin for another plugin API is told so when it is added', async () => {
    const path = await outside.directory('future')
    const manifest = {
      name: 'future',
      version: '9.0.0',
      type: 'module',
      keywords: ['containerd-plugin'],
      containerd: { pluginApi: '^9.0.0' },
    }
    await writeFile(join(path, 'package.json'), JSON.stringify(manifest))
    await writeFile(join(path, 'index.js'), 'throw new Error("must not be loaded")')
    const { args } = places('future-daemon')
    const { code, stderr } = await outside.attempt([containerd, ...args, 'plugins', 'add', path])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^containerd: future@9\.0\.0 was installed but will not be loaded: it was made for plugin API \^9\.0\.0, this daemon has 1\.0\.0: install/m,
    )
  })
})
