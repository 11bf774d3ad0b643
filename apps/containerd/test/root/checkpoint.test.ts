import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packAny } from '@containerd-ts/api'
import { CheckpointOptions } from '@containerd-ts/api/containerd/runc/v1/options'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { type Containerd, connect, readBlob } from '@containerd-ts/client'
import { eventually } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Environment, startEnvironment } from './environment.js'

const nowhere = { stdin: '', stdout: '', stderr: '', terminal: false }
const imagesType = 'application/vnd.containerd.container.criu.checkpoint.criu.tar'

// criu needs more of a kernel than most have. This is runc but for what it would leave to criu: the images are a file that names the
// container, and what is restored starts anew.
const runtime = (log: string) => `#!/bin/sh
for word; do
  case "$before" in
    --image-path) images=$word ;;
    --root) root=$word ;;
    --bundle) bundle=$word ;;
    --pid-file) pidfile=$word ;;
  esac
  before=$word
done
case "$*" in
  *" checkpoint "*)
    echo "memory of $word" > "$images/pages-1.img"
    case "$*" in *--leave-running*) ;; *) runc --root "$root" delete --force "$word" ;; esac
    exit 0 ;;
  *" restore "*)
    echo "$word from $(cat "$images/pages-1.img")" >> ${log}
    exec runc --root "$root" run --detach --bundle "$bundle" --pid-file "$pidfile" "$word" ;;
esac
exec runc "$@"
`

// Debian's ctr and our client. Needs root.
describe.runIf(process.getuid?.() === 0)('a checkpoint in the content store', () => {
  let env: Environment
  let containerd: Containerd
  let program: string
  let restored: string
  const ns = `checkpoint-${process.pid}`
  const ctr = (...args: string[]) => env.daemon.mustCtr(['-n', ns, ...args])
  const shows = (id: string, state: string) =>
    eventually(`${id} is ${state}`, async () =>
      new RegExp(`^${id}\\s+\\d+\\s+${state}`, 'm').test(await ctr('tasks', 'ls')) ? true : undefined,
    )
  /** Whatever the service has on disk. */
  const kept = async () =>
    (await readdir(join(env.daemon.root, 'io.containerd.grpc.v1.tasks'), { recursive: true }).catch(() => [])).filter(
      (name) => !['restore', join('restore', ns)].includes(name),
    )
  const begin = (id: string) => ctr('run', '-d', '--runc-binary', program, env.ref, id, 'sleep', '1000')
  const end = async (id: string) => {
    await ctr('tasks', 'rm', '-f', id)
    await ctr('containers', 'rm', id)
  }
  const checkpoint = async (containerId: string, options: Partial<CheckpointOptions> = {}) => {
    const any = packAny('containerd.runc.v1.CheckpointOptions', CheckpointOptions, CheckpointOptions.fromPartial(options))
    const { descriptors } = await containerd.tasks.checkpoint({ containerId, options: any })
    return descriptors
  }

  const byType = (descriptors: Awaited<ReturnType<typeof checkpoint>>) => descriptors.map(({ mediaType }) => mediaType)

  beforeAll(async () => {
    env = await startEnvironment()
    const anyClient = connect(env.daemon.address, { namespace: ns })
    // Nothing else keeps what a checkpoint consists of, until a client puts it together.
    const { lease } = await anyClient.leases.create({ labels: {} })
    containerd = anyClient.withLease(lease?.id ?? '')
    restored = join(env.dir, 'restored')
    program = join(env.dir, 'checkpointing')
    await writeFile(program, runtime(restored), { mode: 0o755 })
    await ctr('images', 'pull', '--plain-http', env.ref)
  })
  afterAll(async () => {
    containerd?.close()
    await env?.close()
  })

  test("is made and restored by containerd's client", async () => {
    await begin('first')
    await ctr('containers', 'checkpoint', '--task', '--image', '--rw', 'first', 'test/checkpoint:latest')
    await shows('first', 'RUNNING')
    // The copy has the same control group.
    await end('first')
    await ctr('containers', 'restore', '--live', '--rw', 'copy', 'test/checkpoint:latest')
    await shows('copy', 'RUNNING')
    expect(await readFile(restored, 'utf8')).toBe('copy from memory of first\n')
    expect(await kept()).toEqual([])
    await end('copy')
    await ctr('images', 'rm', '--sync', 'test/checkpoint:latest')
  })

  test('is the images of the processes and the spec, and ends the task where that is wanted', async () => {
    await begin('source')
    const [images, spec] = await checkpoint('source')
    expect(byType([images, spec].flatMap((found) => found ?? []))).toEqual([
      imagesType,
      'application/vnd.containerd.container.checkpoint.config.v1+proto',
    ])
    const { container } = await containerd.containers.get({ id: 'source' })
    expect(Any.decode(await readBlob(containerd, spec?.digest ?? ''))).toEqual(container?.spec)
    // The same again is no problem.
    expect(await checkpoint('source')).toMatchObject([{ mediaType: imagesType }, { digest: spec?.digest }])

    // A task to be restored is created without a process, and its images outlive the daemon.
    await containerd.containers.create({ container: { ...container, id: 'later' } })
    const { mounts } = await containerd.snapshots.prepare({
      snapshotter: 'overlayfs',
      key: 'later',
      parent: (await containerd.snapshots.stat({ snapshotter: 'overlayfs', key: 'source' })).info?.parent ?? '',
      labels: { 'containerd.io/gc.root': 'test' },
    })
    const later = { containerId: 'later', rootfs: mounts, checkpoint: images, ...nowhere }
    expect(await containerd.tasks.create(later)).toMatchObject({ pid: 0 })
    await env.restart('SIGKILL')
    await eventually('the daemon serves', () => ctr('tasks', 'ls'))
    // Nor does another attempt take them away.
    await expect(containerd.tasks.create(later)).rejects.toMatchObject({ code: 6 })
    expect((await kept()).filter((name) => name.endsWith('.img'))).toEqual([
      expect.stringMatching(new RegExp(`^restore/${ns}/later/images-\\w+/pages-1.img$`)),
    ])
    expect((await containerd.tasks.start({ containerId: 'later' })).pid).toBeGreaterThan(0)
    expect(await readFile(restored, 'utf8')).toContain('later from memory of source\n')
    expect(await kept()).toEqual([])

    const exit = containerd.tasks.wait({ containerId: 'later' })
    await checkpoint('later', { exit: true })
    expect(await exit).toMatchObject({ exitStatus: 137 })
    await containerd.tasks.delete({ containerId: 'later' })

    // One that is deleted instead of started leaves nothing either.
    expect(await containerd.tasks.create(later)).toMatchObject({ pid: 0 })
    await expect(checkpoint('later')).rejects.toMatchObject({ details: 'cannot checkpoint a task in created state' })
    await containerd.tasks.delete({ containerId: 'later' })
    expect(await kept()).toEqual([])
    await containerd.containers.delete({ id: 'later' })
    await containerd.snapshots.remove({ snapshotter: 'overlayfs', key: 'later' })
  })

  test('that cannot be is refused, and leaves nothing', async () => {
    const [, spec] = await checkpoint('source')
    const { container } = await containerd.containers.get({ id: 'source' })
    await containerd.containers.create({ container: { ...container, id: 'none' } })
    const create = (descriptor: object) => containerd.tasks.create({ containerId: 'none', checkpoint: descriptor, ...nowhere })
    await expect(create({ ...spec })).rejects.toMatchObject({
      details: 'unsupported checkpoint type "application/vnd.containerd.container.checkpoint.config.v1+proto"',
    })
    await expect(create({ mediaType: imagesType, digest: `sha256:${'0'.repeat(64)}` })).rejects.toMatchObject({ code: 5 })
    // Not an archive.
    await expect(create({ ...spec, mediaType: imagesType })).rejects.toMatchObject({
      details: expect.stringMatching(/tar|archive/),
    })
    await expect(checkpoint('nobody')).rejects.toMatchObject({ code: 5 })
    expect(await kept()).toEqual([])
    await containerd.containers.delete({ id: 'none' })
    await end('source')
  })
})
