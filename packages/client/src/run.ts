import { type Containerd, leased } from './connection.js'
import { openStdio } from './fifo.js'
import { unpack } from './image.js'
import { ociSpec } from './spec.js'

/** What is run, and how. */
export interface RunOptions {
  /** Name of an image in this namespace. */
  image: string
  /** Id of the container. Default: a generated one. */
  id?: string
  /** Program and arguments. Default: the image's own. */
  args?: readonly string[]
  env?: readonly string[]
  /** Default `io.containerd.runc.v2`. */
  runtime?: string
}

/** How a container ended and what it printed. */
export interface RunResult {
  exitStatus: number
  stdout: Buffer
  stderr: Buffer
}

const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'

/** Runs a container of an image to its end and gives back what it printed. Container, task and snapshot are gone afterwards. */
export function run(containerd: Containerd, options: RunOptions): Promise<RunResult> {
  // Until the container refers to its snapshot, only the lease keeps that from garbage collection.
  return leased(containerd, (held) => runLeased(held, options))
}

async function runLeased(containerd: Containerd, options: RunOptions): Promise<RunResult> {
  const { snapshotter } = containerd
  const id = options.id ?? `run-${process.hrtime.bigint()}`
  const { image } = await containerd.images.get({ name: options.image })
  if (image?.target === undefined) throw new Error(`image "${options.image}" has no target`)
  const { chainId, config } = await unpack(containerd, image.target)
  const spec = ociSpec(config, { ...options, cgroupsPath: `/${containerd.namespace}/${id}` })

  const cleanups: (() => Promise<unknown>)[] = []
  try {
    const { mounts } = await containerd.snapshots.prepare({ snapshotter, key: id, parent: chainId })
    cleanups.push(() => containerd.snapshots.remove({ snapshotter, key: id }))
    await containerd.containers.create({
      container: {
        id,
        image: options.image,
        snapshotter,
        snapshotKey: id,
        runtime: { name: options.runtime ?? 'io.containerd.runc.v2' },
        spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(spec)) },
      },
    })
    cleanups.push(() => containerd.containers.delete({ id }))

    const stdio = await openStdio()
    cleanups.push(() => stdio.close())
    const printed = Promise.all([collect(stdio.output.stdout), collect(stdio.output.stderr)])
    // When the task cannot be made, its streams are closed early; the reason is that error, not this one.
    printed.catch(() => {})
    await containerd.tasks.create({
      containerId: id,
      rootfs: mounts,
      stdin: stdio.stdin,
      stdout: stdio.stdout,
      stderr: stdio.stderr,
    })
    cleanups.push(() => deleteTask(containerd, id))
    const exit = containerd.tasks.wait({ containerId: id })
    exit.catch(() => {})
    await containerd.tasks.start({ containerId: id })
    const { exitStatus } = await exit
    const [stdout, stderr] = await printed
    return { exitStatus, stdout, stderr }
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup()
  }
}

/** Removes a task; one that still runs, because something failed after its start, is killed first. */
async function deleteTask({ tasks }: Containerd, containerId: string): Promise<void> {
  try {
    await tasks.delete({ containerId })
  } catch {
    await tasks.kill({ containerId, signal: 9, all: true })
    await tasks.wait({ containerId })
    await tasks.delete({ containerId })
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
