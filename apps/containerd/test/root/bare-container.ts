import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Containerd, ociSpec } from '@containerd-ts/client'

/** Where the streams of a process are. */
export interface StdioPaths {
  stdin: string
  stdout: string
  stderr: string
  terminal: boolean
}

export const nowhere: StdioPaths = { stdin: '', stdout: '', stderr: '', terminal: false }

const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'
const processType = 'types.containerd.io/opencontainers/runtime-spec/1/Process'

/** A root filesystem with nothing but busybox. */
export async function busyboxRootfs(rootfs: string): Promise<string> {
  for (const name of ['bin', 'proc', 'dev', 'sys', 'run']) await mkdir(join(rootfs, name), { recursive: true })
  await copyFile('/bin/busybox', join(rootfs, 'bin/busybox'))
  return rootfs
}

/** The spec of a container that runs a program of busybox. */
export function busyboxSpec(args: readonly string[], cgroupsPath: string, terminal = false): object {
  const image = { architecture: 'amd64', os: 'linux', rootfs: { diff_ids: [] } }
  return ociSpec(image, { args: ['busybox', ...args], env: ['PATH=/bin'], cgroupsPath, terminal })
}

/** Makes a container without an image or a snapshot. */
export async function createRecord(
  { containers }: Pick<Containerd, 'containers'>,
  { id, spec, labels = {} }: { id: string; spec: object; labels?: Record<string, string> },
): Promise<void> {
  const value = Buffer.from(JSON.stringify(spec))
  const runtime = { name: 'io.containerd.runc.v2' }
  await containers.create({ container: { id, labels, runtime, spec: { typeUrl: specType, value } } })
}

/** Makes a container and its task on a root filesystem that is there already, without an image or a snapshot. */
export async function createBare(
  containerd: Containerd,
  options: { id: string; rootfs: string; spec: object; stdio?: StdioPaths },
): Promise<void> {
  const { id, rootfs, spec, stdio = nowhere } = options
  await createRecord(containerd, { id, spec })
  const mount = { type: 'bind', source: rootfs, target: '', options: ['rbind', 'rw'] }
  await containerd.tasks.create({ containerId: id, rootfs: [mount], ...stdio })
}

/** The spec of a further process. */
export function processSpec(args: readonly string[]): { typeUrl: string; value: Uint8Array } {
  const process = { user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin'], cwd: '/' }
  return { typeUrl: processType, value: Buffer.from(JSON.stringify(process)) }
}
