import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec, ourDaemon, startDaemon } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'containerd-cli-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const containerd = (...args: string[]) => exec(ourDaemon, args)

test('--version prints four words', async () => {
  const { stdout, code } = await containerd('--version')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^containerd github\.com\/\S+ v\d+\.\d+\.\d+\S* \S+\n$/)
})

test('config default prints a file that loads to itself', async () => {
  const { stdout } = await containerd('config', 'default')
  expect(stdout).toMatch(/^version = 4\n/)
  expect(stdout).toContain("[plugins.'io.containerd.gc.v1.scheduler']")
  await writeFile(join(dir, 'default.toml'), stdout)
  const dumped = await containerd('--config', join(dir, 'default.toml'), 'config', 'dump')
  expect(dumped).toEqual({ code: 0, stdout, stderr: '' })
})

test.each([
  [['frobnicate'], /unknown command "frobnicate"/],
  [['--no-such-flag'], /no-such-flag/],
  [['--log-level', 'loud'], /unknown log level "loud"/],
  [['--config', '/no/such/file.toml'], /^containerd: \/no\/such\/file\.toml: ENOENT/],
])('%j is refused', async (args, message) => {
  const { code, stderr } = await containerd(...args)
  expect(code).toBe(1)
  expect(stderr).toMatch(message)
})

test('a broken configuration is told with file, line and key', async () => {
  const path = join(dir, 'broken.toml')
  await writeFile(path, 'version = 2\n\n[debug]\n  level = 7\n')
  const { code, stderr } = await containerd('--config', path)
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^containerd: .*broken\.toml:4: debug\.level: expected one of .*\n$/),
  })
})

test('config check tells all mistakes and fails', async () => {
  const path = join(dir, 'mistakes.toml')
  await writeFile(
    path,
    'version = 2\n[grpc]\n  adress = "/x"\n[plugins."io.containerd.gc.v1.scheduler"]\n  pause_threshold = "0.5"\n',
  )
  const { code, stdout, stderr } = await containerd('--config', path, 'config', 'check')
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'containerd: the configuration has 2 errors\n' })
  expect(stdout.split('\n')).toEqual([
    `error: ${path}:5: plugins."io.containerd.gc.v1.scheduler".pause_threshold: expected a number, got the string "0.5"; write pause_threshold = 0.5`,
    `error: ${path}:3: plugins."io.containerd.server.v1.grpc".adress: unknown key; did you mean "address"?`,
    '',
  ])
})

test("the default configuration of Debian's containerd has no errors", async () => {
  const { stdout } = await exec('containerd', ['config', 'default'])
  await writeFile(join(dir, 'go.toml'), stdout)
  const { code, stdout: told } = await containerd('--config', join(dir, 'go.toml'), 'config', 'check')
  expect(code).toBe(0)
  expect(told).toMatch(/\nno errors in .*go\.toml\n$/)
})

test.each([
  [['config'], /"config" needs a second word: config default, /],
  [['plugins', 'graph', '--format', 'pdf'], /unknown format "pdf": expected one of table, json, mermaid, svg/],
  [['plugins', 'explain'], /plugins explain needs the URI of one plugin\n\ncontainerd plugins explain \[options\] <uri> - /],
  [['--address', '/no/such.sock', 'plugins', 'ls'], /^containerd: cannot ask the daemon at \/no\/such\.sock: /],
])('%j says what is wrong', async (args, message) => {
  const { code, stderr } = await containerd(...args)
  expect(code).toBe(1)
  expect(stderr).toMatch(message)
})

describe.runIf(process.getuid?.() === 0)('a running daemon', () => {
  test('shows its plugins, those from outside and why one failed', async () => {
    const root = join(dir, 'shown')
    await mkdir(join(root, 'root/plugins'), { recursive: true, mode: 0o700 })
    const source = (id: string, init: string) =>
      `export const p = { type: 'io.containerd.snapshotter.v1', id: '${id}', api: '^1.0.0', init() { ${init} } }`
    await writeFile(join(root, 'root/plugins/good.mjs'), source('good', 'return {}'))
    await writeFile(join(root, 'root/plugins/bad.mjs'), source('bad', 'throw new Error("disk on fire")'))
    const daemon = await startDaemon({ dir: root })
    try {
      const plugins = (...args: string[]) => containerd('--address', daemon.address, 'plugins', ...args)
      const { stdout: list } = await plugins('ls')
      expect(list).toMatch(/^io\.containerd\.snapshotter\.v1 +good +- +ok +.*plugins\/good\.mjs$/m)
      expect(list).toMatch(/^io\.containerd\.snapshotter\.v1 +bad +- +error +disk on fire$/m)
      const { stdout: explained } = await plugins('explain', 'level')
      expect(explained).toContain('io.containerd.snapshotter.v1: ')
      expect(explained).toContain('bad (failed)')
      expect(explained).toContain('content_sharing_policy = "shared"')
      const { stdout: graph } = await plugins('graph', '--format', 'json')
      expect(JSON.parse(graph)).toContainEqual(expect.objectContaining({ uri: 'io.containerd.metadata.v1.level', state: 'ok' }))
      const { stdout: seenByCtr } = await exec('ctr', ['--address', daemon.address, 'plugins', 'ls'])
      expect(seenByCtr).toMatch(/^io\.containerd\.snapshotter\.v1 +good +- +ok/m)
      expect(seenByCtr).toMatch(/^io\.containerd\.snapshotter\.v1 +bad +- +error/m)
    } finally {
      expect(await daemon.stop()).toBe(0)
    }
  })

  test('holds its root and its socket against a second one', async () => {
    const daemon = await startDaemon({ dir: join(dir, 'first') })
    try {
      const sameRoot = await containerd(
        '--root',
        daemon.root,
        '--state',
        join(dir, 'other'),
        '--address',
        join(dir, 'other.sock'),
      )
      expect(sameRoot).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`containerd: root .* is in use by another daemon \\(pid ${daemon.pid}\\)`)),
      })
      const sameSocket = await containerd('--root', join(dir, 'r2'), '--state', join(dir, 's2'), '--address', daemon.address)
      expect(sameSocket).toMatchObject({ code: 1, stderr: expect.stringMatching(/containerd: .*address already in use/) })
    } finally {
      expect(await daemon.stop()).toBe(0)
    }
  })

  test('starts again after it was killed', async () => {
    const first = await startDaemon({ dir: join(dir, 'killed') })
    await first.stop('SIGKILL')
    const second = await startDaemon({ dir: join(dir, 'killed') })
    expect(await second.stop('SIGINT')).toBe(0)
  })
})

describe('oci-hook', () => {
  const hook = async (args: string[], env: Record<string, string> = {}) => {
    const bundle = join(dir, 'bundle')
    await mkdir(bundle, { recursive: true })
    await writeFile(join(bundle, 'config.json'), JSON.stringify({ root: { path: 'rootfs' } }))
    const state = { ociVersion: '1.0.2', id: 'c1', status: 'created', pid: 123, bundle, annotations: { 'a/b': 'note' } }
    const input = JSON.stringify(state)
    const { stdout, stderr, code } = await exec(ourDaemon, ['oci-hook', ...args], { input, env: { ...process.env, ...env } })
    return { stdout: stdout.replaceAll(bundle, '<bundle>'), stderr, code }
  }

  test('runs a program that is told what container it is for', async () => {
    const print = ['/bin/sh', '-c', 'printf "%s\\n" "$@" "$OF"', 'sh']
    expect(
      await hook([...print, '--pid', '{{pid}}', '{{ id }}={{id}}', '{{rootfs}}', '{{annotation "a/b"}}'], {
        OF: '{{bundle}} {{status}}',
      }),
    ).toEqual({ code: 0, stdout: '--pid\n123\nc1=c1\n<bundle>/rootfs\nnote\n<bundle> created\n', stderr: '' })
    expect(await hook(['--', '/bin/sh', '-c', 'exit 7'])).toMatchObject({ code: 7 })
    expect(await hook(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('oci-hook [options] <program>') })
  })

  test('says what it does not know', async () => {
    expect(await hook(['/bin/true', '{{name}}'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^containerd: oci-hook: nothing is known as \{\{name\}\}; there are id, /),
    })
    expect(await hook(['/no/such'])).toMatchObject({ code: 1, stderr: expect.stringContaining('/no/such') })
    expect(await hook([])).toMatchObject({ code: 1, stderr: expect.stringContaining('oci-hook needs a program') })
  })
})
