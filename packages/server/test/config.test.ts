import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { integer, PluginType, type Registration, text } from '@containerd-ts/plugin'
import { parse } from 'smol-toml'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkConfig, configTable, daemonConfig, grpcListener, loadConfigFile, printToml } from '../src/index.js'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'config-'))
})
afterEach(() => rm(dir, { recursive: true }))

async function load(source: string, name = 'config.toml') {
  const path = join(dir, name)
  await writeFile(path, source)
  return loadConfigFile(path)
}

const grpc = 'io.containerd.server.v1.grpc'
const ttrpc = 'io.containerd.server.v1.ttrpc'

// What dockerd 20.10 writes: no version, every section there, some of them empty.
const dockerd = `
root = "/data/containerd/daemon"
state = "/exec/containerd/daemon"
plugin_dir = ""
disabled_plugins = ["cri"]
oom_score = 0
[grpc]
  address = "/exec/containerd.sock"
  uid = 0
  gid = 0
  max_recv_message_size = 16777216
  max_send_message_size = 16777216
[ttrpc]
  address = ""
  uid = 0
  gid = 0
[debug]
  address = "/exec/containerd-debug.sock"
  uid = 0
  gid = 0
  level = "warn"
[metrics]
  address = ""
  grpc_histogram = false
[cgroup]
  path = ""
[plugins]
  [plugins.linux]
    shim = "containerd-shim"
    runtime = "runc"
    runtime_root = "/var/lib/docker/runc"
    no_shim = false
    shim_debug = true
[proxy_plugins]
`

test('the file of dockerd loads', async () => {
  const config = daemonConfig(await load(dockerd), {})
  expect(config).toMatchObject({
    root: '/data/containerd/daemon',
    logLevel: 'warn',
    disabledPlugins: ['io.containerd.grpc.v1.cri'],
    plugins: {
      [grpc]: { address: '/exec/containerd.sock', uid: 0, gid: 0, max_recv_message_size: 16777216 },
      [ttrpc]: { address: '/exec/containerd.sock.ttrpc', uid: 0, gid: 0 },
      'io.containerd.server.v1.debug': { address: '/exec/containerd-debug.sock' },
      'io.containerd.runtime.v1.linux': { shim_debug: true },
    },
  })
})

test.each([
  ['[plugins.cgroups]\nno_prometheus = true', 'io.containerd.monitor.task.v1.cgroups', { no_prometheus: true }],
  [
    'version = 2\n[plugins."io.containerd.monitor.v1.cgroups"]\nno_prometheus = true',
    'io.containerd.monitor.task.v1.cgroups',
    { no_prometheus: true },
  ],
  [
    'version = 2\n[plugins."io.containerd.internal.v1.restart"]\ninterval = "5s"',
    'io.containerd.monitor.container.v1.restart',
    { interval: '5s' },
  ],
  [
    'version = 2\n[plugins."io.containerd.runtime.v2.task"]\nsched_core = true',
    'io.containerd.shim.v1.manager',
    { env: ['SCHED_CORE=1'] },
  ],
  ['version = 3\n[metrics]\naddress = "127.0.0.1:1338"', 'io.containerd.server.v1.metrics', { address: '127.0.0.1:1338' }],
  [
    'version = 3\n[grpc]\naddress = "/a"\ntcp_address = "0.0.0.0:1"\ntcp_tls_cert = "c"',
    'io.containerd.server.v1.grpc-tcp',
    { address: '0.0.0.0:1', tls_cert: 'c' },
  ],
  [`version = 4\n[plugins.'${grpc}']\naddress = "/b"`, grpc, { address: '/b' }],
])('%j reaches its plugin', async (source, uri, section) => {
  const { table } = await load(source)
  expect(table['version']).toBe(4)
  expect(table['plugins']).toMatchObject({ [uri]: section })
})

test('flags override files, and the ttrpc socket follows the gRPC one', async () => {
  const config = daemonConfig(await load('version = 2\nroot = "/file"'), {
    root: '/flag',
    state: '/s',
    address: '/run/x.sock',
    logLevel: 'debug',
  })
  expect(config).toMatchObject({
    root: '/flag',
    logLevel: 'debug',
    plugins: { [grpc]: { address: '/run/x.sock' }, [ttrpc]: { address: '/run/x.sock.ttrpc' } },
  })
})

test('imports override, lists grow, circles are harmless', async () => {
  await mkdir(join(dir, 'conf.d'))
  await writeFile(
    join(dir, 'conf.d/10.toml'),
    'version = 2\nroot = "/ten"\ndisabled_plugins = ["io.x.v1.a", "io.x.v1.b"]\nimports = ["../config.toml"]',
  )
  await writeFile(join(dir, 'conf.d/20.toml'), 'version = 2\n[plugins."io.x.v1.a"]\nkey = 2')
  const { table } = await load(
    'version = 2\nroot = "/main"\nimports = ["conf.d/*.toml"]\ndisabled_plugins = ["io.x.v1.a"]\n[plugins."io.x.v1.a"]\nkey = 1\nother = 1',
  )
  expect(table).toMatchObject({
    root: '/ten',
    disabled_plugins: ['io.x.v1.a', 'io.x.v1.b'],
    plugins: { 'io.x.v1.a': { key: 2, other: 1 } },
  })
})

test.each([
  ['root = "/a"\nstate = [', /config\.toml:2:\d+: /],
  ['version = 5', /config\.toml:1: expected containerd config version equal to or less than 4/],
  ['version = 2\n\nroot = 5', /config\.toml:3: root: expected a string, got the number 5/],
  ['version = 2\n[debug]\nlevel = "loud"', /config\.toml:3: debug\.level: expected one of/],
  ['version = 2\nroot = "/a"\nstate = "/a"', /root and state must be different paths/],
  ['version = 2\nroot = ""', /root must be specified/],
  ['version = 2\ndisabled_plugins = ["cri"]', /invalid disabled plugin URI cri/],
  ['version = 2\n[timeouts]\n"a.b" = "soon"', /config\.toml:3: timeouts\."a\.b": expected a duration/],
  ['version = 2\nimports = ["missing.toml"]', /missing\.toml: ENOENT/],
])('%j is refused with its place', async (source, message) => {
  await expect((async () => daemonConfig(await load(source), {}))()).rejects.toThrow(message)
})

test('a drop-in must not be newer than the main file', async () => {
  await writeFile(join(dir, 'new.toml'), 'version = 4')
  await expect(load('version = 2\nimports = ["new.toml"]')).rejects.toThrow('drop-in config version')
})

test('keys without effect are told, with their place', async () => {
  const warnings: string[] = []
  daemonConfig(await load('version = 2\n[debug]\nlog_trace_id = true'), {}, (message) => warnings.push(message))
  expect(warnings).toEqual([`${join(dir, 'config.toml')}:3: debug.log_trace_id has no effect: calls are not traced`])
})

test('a check tells everything at once, with places and suggestions', async () => {
  const document = await load(`version = 2
rooot = "/x"
disabled_plugins = ["io.containerd.content.v1.kontent"]
[grpc]
  adress = "/run/x.sock"
[debug]
  levle = "info"
[plugins."io.containerd.content.v1.content"]
  count = "3"
  pth = "/x"
[plugins."io.containerd.content.v1.contents"]
  path = "/y"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause"
[timeouts]
  "io.containerd.timeout.task.states" = "2s"
[proxy_plugins.remote]
  type = "snapshots"
  address = "run/x.sock"
[proxy_plugins.half]
  type = "content"
`)
  const { problems } = checkConfig(document, {}, [registration, grpcListener])
  expect(problems.map(({ severity, message }) => `${severity} ${message.replace(join(dir, 'config.toml'), '')}`)).toEqual([
    'error :2: rooot: unknown key; did you mean "root"?',
    'error :7: debug.levle: unknown key; did you mean "level"?',
    'warning :16: timeouts."io.containerd.timeout.task.states" is no limit that this daemon knows; did you mean "io.containerd.timeout.task.state"?',
    expect.stringMatching(/^error :18: proxy_plugins\.remote\.type: expected one of .*; write type = "snapshot"$/),
    'error :19: proxy_plugins.remote.address: expected an absolute path',
    'error :20: proxy_plugins.half: address must be given',
    'error :9: plugins."io.containerd.content.v1.content".count: expected an integer, got the string "3"; write count = 3',
    'error :10: plugins."io.containerd.content.v1.content".pth: unknown key; did you mean "path"?',
    'warning :11: plugins."io.containerd.content.v1.contents" has no effect: this daemon has no such plugin; did you mean "io.containerd.content.v1.content"?',
    'warning :13: plugins."io.containerd.grpc.v1.cri" has no effect: this daemon has no such plugin',
    'error :5: plugins."io.containerd.server.v1.grpc".adress: unknown key; did you mean "address"?',
    'warning disabled_plugins: this daemon has no plugin "io.containerd.content.v1.kontent"; did you mean "io.containerd.content.v1.content"?',
  ])
})

test('what is imported without being named, and a file that is not there', async () => {
  await mkdir(join(dir, 'conf.d'))
  await writeFile(join(dir, 'conf.d/10.toml'), 'version = 3\nroot = "/dropped"')
  const defaultImports = [join(dir, 'conf.d/*.toml')]
  const missing = join(dir, 'missing.toml')
  expect((await loadConfigFile(missing, { optional: true, defaultImports })).table['root']).toBe('/dropped')
  await expect(loadConfigFile(missing, { defaultImports })).rejects.toThrow('ENOENT')
  const own = join(dir, 'own.toml')
  await writeFile(own, 'version = 4\nimports = []')
  expect((await loadConfigFile(own, { defaultImports })).table['root']).toBeUndefined()
})

test('a mistake in a drop-in is told with its own file', async () => {
  await mkdir(join(dir, 'conf.d'))
  await writeFile(join(dir, 'conf.d/10.toml'), 'version = 2\n\n[debug]\nlevle = "info"')
  const document = await load('version = 2\nimports = ["conf.d/*.toml"]\n[debug]\nlevel = "info"')
  expect(checkConfig(document, {}, []).problems).toEqual([
    { severity: 'error', message: `${join(dir, 'conf.d/10.toml')}:4: debug.levle: unknown key; did you mean "level"?` },
  ])
})

test('proxy plugins are read', async () => {
  const { proxyPlugins } = daemonConfig(
    await load(
      'version = 2\n[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "/run/s.sock"\n[proxy_plugins.stargz.exports]\nroot = "/x"',
    ),
    {},
  )
  expect(proxyPlugins).toEqual([
    {
      name: 'stargz',
      type: 'io.containerd.snapshotter.v1',
      address: '/run/s.sock',
      platform: '',
      exports: { root: '/x' },
      capabilities: [],
    },
  ])
})

test('what is said of the bolt database goes for the one here', async () => {
  const level = 'io.containerd.metadata.v1.level'
  const { plugins, requiredPlugins } = daemonConfig(
    await load('version = 1\nrequired_plugins = ["bolt"]\n[plugins.bolt]\ncontent_sharing_policy = "isolated"'),
    {},
  )
  expect(plugins[level]).toEqual({ content_sharing_policy: 'isolated' })
  expect(requiredPlugins).toEqual([level])
})

const registration: Registration<typeof PluginType.Content, { path: string; count: number }> = {
  type: PluginType.Content,
  id: 'content',
  config: { path: text({ default: "it's", doc: 'A path.' }), count: integer({ default: 1, doc: 'A count.' }) },
  init: () => {
    throw new Error('never initialised here')
  },
}

test('the printed configuration reads back to itself', async () => {
  const printed = printToml(configTable(daemonConfig({ table: {}, files: [] }, {}), [registration]))
  expect(printed.startsWith('version = 4\n')).toBe(true)
  expect(parse(printed)).toMatchObject({ plugins: { 'io.containerd.content.v1.content': { path: "it's", count: 1 } } })
  const again = printToml(configTable(daemonConfig(await load(printed), {}), [registration]))
  expect(again).toBe(printed)
})

test('a key of a plugin is found in the file', async () => {
  const config = daemonConfig(await load('version = 2\n\n[plugins."io.containerd.content.v1.content"]\n  path = 1\n'), {})
  expect(config.locate('io.containerd.content.v1.content', 'path')).toBe(`${join(dir, 'config.toml')}:4`)
})

test('a key of a list of tables is found in its own table', async () => {
  const id = 'io.containerd.content.v1.content'
  const config = daemonConfig(
    await load(`version = 2\n[[plugins."${id}".list]]\n  a = 1\n[[plugins."${id}".list]]\n  a = 2\n`),
    {},
  )
  expect(config.locate(id, 'list[1].a')).toBe(`${join(dir, 'config.toml')}:5`)
})

test('stream processors are for the differ to run', async () => {
  const { plugins } = daemonConfig(
    await load(`version = 2
[stream_processors."unscramble"]
  accepts = ["application/x-scrambled"]
  returns = "application/vnd.oci.image.layer.v1.tar"
  path = "/usr/bin/unscramble"
`),
    {},
  )
  expect(plugins['io.containerd.differ.v1.walking']).toEqual({
    stream_processors: {
      unscramble: {
        accepts: ['application/x-scrambled'],
        returns: 'application/vnd.oci.image.layer.v1.tar',
        path: '/usr/bin/unscramble',
      },
    },
  })
})
