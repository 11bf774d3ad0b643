import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type Containerd, connect, importImage, run } from '@containerd-ts/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

// The codes of gRPC's status.
const invalidArgument = 3
const notFound = 5
const unknown = 2

// The TypeScript client against this daemon, and the codes with which it refuses. Needs root.
describe.runIf(process.getuid?.() === 0)('the client', () => {
  let env: Environment
  let containerd: Containerd
  let image: string

  beforeAll(async () => {
    env = await startEnvironment()
    containerd = connect(env.daemon.address, { namespace: `client-${process.pid}` })
    image = (await importImage(containerd, env.image.archive))[0] ?? ''
  })
  afterAll(async () => {
    containerd?.close()
    await env?.close()
  })

  test('imports what is there already, in the namespace or in another', async () => {
    expect(await importImage(containerd, env.image.archive)).toEqual([image])
    const other = connect(env.daemon.address, { namespace: `client-other-${process.pid}` })
    try {
      expect(await importImage(other, env.image.archive)).toEqual([image])
    } finally {
      other.close()
    }
  })

  test('runs containers at once, each with its own output and status', async () => {
    const runs = Array.from({ length: 8 }, (_, n) =>
      run(containerd, { image, args: ['sh', '-c', `echo out ${n}; echo err ${n} >&2; exit ${n}`] }),
    )
    const results = await Promise.all(runs)
    expect(results.map(({ exitStatus, stdout, stderr }) => [exitStatus, stdout.toString(), stderr.toString()])).toEqual(
      Array.from({ length: 8 }, (_, n) => [n, `out ${n}\n`, `err ${n}\n`]),
    )
  })

  test('hears why something cannot be, with the right code', async () => {
    await expect(run(containerd, { image: 'no/such:image' })).rejects.toMatchObject({
      code: notFound,
      details: 'image "no/such:image": not found',
    })
    await expect(run(containerd, { image, runtime: 'io.containerd.nothing.v9' })).rejects.toMatchObject({
      code: notFound,
      details: expect.stringContaining('containerd-shim-nothing-v9'),
    })
    await expect(run(containerd, { image, runtime: 'nonsense' })).rejects.toMatchObject({
      details: expect.stringContaining('invalid runtime name nonsense'),
    })
    await expect(run(containerd, { image, args: ['no-such-command'] })).rejects.toMatchObject({
      code: unknown,
      details: expect.stringMatching(
        /^failed to create shim task: OCI runtime create failed: .*"no-such-command": executable file not found in \$PATH/,
      ),
    })
    await expect(run(containerd, { image, id: '../escape' })).rejects.toMatchObject({ code: invalidArgument })
    await expect(containerd.tasks.kill({ containerId: 'nobody', signal: 9 })).rejects.toMatchObject({ code: notFound })
    await expect(importImage(containerd, join(env.dir, 'layout/index.json'))).rejects.toThrow()
    const { containers } = await containerd.containers.list({})
    expect(containers).toEqual([])
  })

  test('a container without its runtime says so', async () => {
    // Only Node is to be found there.
    const bin = join(env.dir, 'bin')
    await mkdir(bin)
    await symlink(process.execPath, join(bin, 'node'))
    const other = await startEnvironment({ env: { PATH: bin } })
    const elsewhere = connect(other.daemon.address)
    try {
      const [name = ''] = await importImage(elsewhere, other.image.archive)
      await expect(run(elsewhere, { image: name, args: ['true'] })).rejects.toMatchObject({
        code: unknown,
        details: expect.stringMatching(/"runc".*executable file not found/),
      })
    } finally {
      elsewhere.close()
      await other.close()
    }
  })
})
