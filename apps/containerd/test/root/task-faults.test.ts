import { cp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packAny } from '@containerd-ts/api'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { type Containerd, connect, ociSpec } from '@containerd-ts/client'
import { mustExec } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }
const image = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, config: { Env: ['PATH=/bin'] } }
const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'

// What goes wrong below the daemon is told to the client, and nothing stays of it. Needs root.
describe.runIf(process.getuid?.() === 0)('when something fails', () => {
  let env: Environment
  let containerd: Containerd
  let rootfs: string
  const ns = `faults-${process.pid}`
  const bundles = () => join(env.daemon.state, 'io.containerd.runtime.v2.task', ns)

  beforeAll(async () => {
    env = await startEnvironment()
    containerd = connect(env.daemon.address, { namespace: ns })
    rootfs = join(env.dir, 'rootfs')
    for (const name of ['bin', 'run', 'proc', 'dev', 'sys', 'tmp']) await mkdir(join(rootfs, name), { recursive: true })
    await cp('/bin/busybox', join(rootfs, 'bin/busybox'))
    for (const applet of ['sh', 'sleep', 'true']) await symlink('busybox', join(rootfs, 'bin', applet))
  })
  afterAll(async () => {
    containerd?.close()
    await env?.close()
  })

  /** An OCI runtime that is runc but for what `script` does first with the words of its command line in `$*`. */
  const runtime = async (name: string, script: string) => {
    const path = join(env.dir, name)
    await writeFile(path, `#!/bin/sh\n${script}\nexec runc "$@"\n`, { mode: 0o755 })
    return { options: packAny('containerd.runc.v1.Options', Options, Options.fromPartial({ binaryName: path })) }
  }

  const create = async (id: string, args: string[], options: object = {}, stdio = nowhere) => {
    const spec = ociSpec(image, { args, cgroupsPath: `/${ns}/${id}` })
    await containerd.containers.create({
      container: {
        id,
        runtime: { name: 'io.containerd.runc.v2', ...options },
        spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(spec)) },
      },
    })
    await containerd.tasks.create({
      containerId: id,
      rootfs: [{ type: 'bind', source: rootfs, options: ['rbind', 'ro'], target: '' }],
      ...stdio,
    })
  }
  const end = async (id: string) => {
    const exit = containerd.tasks.wait({ containerId: id })
    await containerd.tasks.kill({ containerId: id, signal: 9 })
    await exit
    await containerd.tasks.delete({ containerId: id })
    await containerd.containers.delete({ id })
  }
  const expectNothing = async (id: string) => {
    expect(await readdir(bundles())).toEqual([])
    await expect(containerd.tasks.get({ containerId: id })).rejects.toMatchObject({
      details: expect.stringContaining('not found'),
    })
    // The id is free for another try.
    await containerd.containers.delete({ id })
    await create(id, ['sleep', '1000'])
    await containerd.tasks.start({ containerId: id })
    await end(id)
    expect(await readdir(bundles())).toEqual([])
  }

  test('a runtime that says on its standard error why it cannot', async () => {
    const broken = await runtime('broken', 'case "$*" in *" create "*) echo "no luck today" >&2; exit 3;; esac')
    await expect(create('a', ['true'], broken)).rejects.toMatchObject({
      details: expect.stringMatching(/^failed to create shim task: OCI runtime create failed: .*exit status 3: no luck today$/),
    })
    await expectNothing('a')
  })

  test('a runtime that is killed while it creates', async () => {
    const dying = await runtime('dying', 'case "$*" in *" create "*) kill -9 $$;; esac')
    await expect(create('b', ['true'], dying)).rejects.toMatchObject({
      details: expect.stringMatching(/^failed to create shim task: OCI runtime create failed: .*signal: killed/),
    })
    await expectNothing('b')
  })

  test('a runtime that is killed while it starts, and while it executes', async () => {
    const dying = await runtime('late', 'case "$*" in *" start "*|*" exec "*) kill -9 $$;; esac')
    await create('c', ['sleep', '1000'], dying)
    await expect(containerd.tasks.start({ containerId: 'c' })).rejects.toMatchObject({
      details: expect.stringMatching(/^OCI runtime start failed: .*signal: killed/),
    })
    const process = { user: { uid: 0, gid: 0 }, args: ['true'], env: ['PATH=/bin'], cwd: '/' }
    const spec = {
      typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
      value: Buffer.from(JSON.stringify(process)),
    }
    await containerd.tasks.exec({ containerId: 'c', execId: 'x', spec, ...nowhere })
    const exit = containerd.tasks.wait({ containerId: 'c', execId: 'x' })
    await expect(containerd.tasks.start({ containerId: 'c', execId: 'x' })).rejects.toMatchObject({
      details: expect.stringMatching(/^OCI runtime exec failed: .*signal: killed/),
    })
    // Whoever waits for it need not do so for ever.
    await exit
    await containerd.tasks.deleteProcess({ containerId: 'c', execId: 'x' })
    await end('c')
    expect(await readdir(bundles())).toEqual([])
  })

  test('a runtime that is not there', async () => {
    const options = packAny('containerd.runc.v1.Options', Options, Options.fromPartial({ binaryName: 'no-runc' }))
    await expect(create('d', ['true'], { options })).rejects.toMatchObject({
      details: expect.stringMatching(/"no-runc".*executable file not found/),
    })
    await expectNothing('d')
  })

  test('a root filesystem that is not there', async () => {
    await containerd.containers.create({
      container: { id: 'e', runtime: { name: 'io.containerd.runc.v2' }, spec: { typeUrl: specType, value: Buffer.from('{}') } },
    })
    const missing = [{ type: 'bind', source: join(env.dir, 'nowhere'), options: ['rbind'], target: '' }]
    await expect(containerd.tasks.create({ containerId: 'e', rootfs: missing, ...nowhere })).rejects.toMatchObject({
      details: expect.stringMatching(/nowhere.*no such file or directory/),
    })
    await expectNothing('e')
  })

  test('a full disk', async () => {
    await mkdir(bundles(), { recursive: true })
    await mustExec('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', bundles()])
    try {
      await create('lives', ['sh', '-c', 'trap "exit 7" TERM; sleep 1000 & wait'])
      await containerd.tasks.start({ containerId: 'lives' })
      const full = join(bundles(), '.full')
      await mustExec('sh', ['-c', `dd if=/dev/zero of=${full} bs=4k 2>/dev/null; true`])
      await expect(create('f', ['true'])).rejects.toMatchObject({
        details: expect.stringMatching(/no space left on device|ENOSPC/i),
      })
      expect((await readdir(bundles())).sort()).toEqual(['.full', 'lives'])
      // What runs does not suffer: its exit is noticed and told.
      const exit = containerd.tasks.wait({ containerId: 'lives' })
      await containerd.tasks.kill({ containerId: 'lives', signal: 15 })
      expect((await exit).exitStatus).toBe(7)
      expect(await containerd.tasks.delete({ containerId: 'lives' })).toMatchObject({ exitStatus: 7 })
      await rm(full)
      await containerd.containers.delete({ id: 'lives' })
      await expectNothing('f')
    } finally {
      await mustExec('umount', [bundles()])
    }
  })
})
