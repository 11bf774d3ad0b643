import { mkdtemp, rm, writeFile } from 'node:fs/promises'
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

describe.runIf(process.getuid?.() === 0)('a running daemon', () => {
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
