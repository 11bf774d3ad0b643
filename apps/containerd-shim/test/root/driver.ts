import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Any, type Client, type MessageType, typeName } from '@containerd-ts/api'
import * as events from '@containerd-ts/api/containerd/events/task'
import { BootstrapParams, BootstrapResult } from '@containerd-ts/api/containerd/runtime/bootstrap/v1/bootstrap'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { DeleteResponse, TaskDefinition } from '@containerd-ts/api/containerd/task/v3/task'
import { Any as AnyMessage } from '@containerd-ts/api/google/protobuf/any'
import { createReaper, execute, makeFifo } from '@containerd-ts/linux'
import { prepareCgroups } from '@containerd-ts/testkit'
import { connectTtrpc, serveTtrpc, type TtrpcConnection } from '@containerd-ts/ttrpc'

export const shimBinary = fileURLToPath(new URL('../../bin/containerd-shim', import.meta.url))
const reaper = createReaper({ scope: 'own' })

export interface TestEvent {
  topic: string
  namespace: string
  event: Record<string, unknown>
}

/** A directory with everything that a containerd would offer to a shim, and the means to see that nothing is left of it. */
export interface Stage {
  readonly dir: string
  readonly namespace: string
  readonly events: TestEvent[]
  /** Topics, with the exec's id where there is one, of one container. */
  topics(id: string): string[]
  bundle(id: string, spec?: SpecOptions): string
  start(id: string, options?: StartOptions): Promise<Shim>
  action(
    id: string,
    action: string,
    args?: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<{ status: number; output: Buffer }>
  deleteAction(id: string): Promise<DeleteResponse>
  close(): Promise<void>
}

export interface SpecOptions {
  args?: readonly string[]
  terminal?: boolean
  hostPid?: boolean
  memoryLimit?: number
  annotations?: Readonly<Record<string, string>>
  root?: string
}

export interface StartOptions {
  scope?: string
  stdin?: 'params' | 'options' | 'empty'
  /** Options of the runtime, as the daemon passes them on. */
  options?: Any
}

export interface Shim {
  readonly address: string
  readonly connection: TtrpcConnection
  readonly tasks: Client<typeof TaskDefinition>
  readonly pid: number
}

const eventTypes: Readonly<Record<string, MessageType<object>>> = Object.fromEntries(
  Object.entries(events)
    .filter(([name]) => name.startsWith('Task'))
    .map(([name, type]) => [`containerd.events.${name}`, type as unknown as MessageType<object>]),
)

export function decodeEvent(any: Any): Record<string, unknown> {
  const type = eventTypes[typeName(any.typeUrl)]
  if (type === undefined) throw new Error(`no such event: ${any.typeUrl}`)
  return type.decode(any.value) as Record<string, unknown>
}

/** The OCI runtimes that everything is tested with. */
export const runtimes = ['runc', 'crun'] as const

/** `runtime` is that of containers whose options name none. */
export async function openStage(runtime: (typeof runtimes)[number]): Promise<Stage> {
  if (runtime === 'crun') prepareCgroups()
  const dir = mkdtempSync(join(tmpdir(), 'shim-'))
  // Of its own, as the runtime keeps the containers of all stages in one place.
  const namespace = basename(dir)
  const received: TestEvent[] = []
  const shims: Shim[] = []
  const rootfs = join(dir, 'busybox')
  makeRootfs(rootfs)
  const eventSocket = join(dir, 'c.sock')
  const server = await serveTtrpc(
    { path: eventSocket },
    {
      services: [
        {
          definition: EventsDefinition,
          handlers: {
            forward: async (_ctx: unknown, request: { envelope?: { topic: string; namespace: string; event?: Any } }) => {
              const { envelope } = request
              if (envelope?.event === undefined) throw new Error('an envelope without an event')
              received.push({ topic: envelope.topic, namespace: envelope.namespace, event: decodeEvent(envelope.event) })
              return {}
            },
          },
        },
      ],
      context: () => ({}),
    },
  )
  const bundleOf = (id: string) => join(dir, 'bundles', id)
  const socketDir = join(dir, 's')

  const stage: Stage = {
    dir,
    namespace,
    events: received,
    topics: (id) =>
      received
        .filter(({ event }) => event['containerId'] === id)
        .map(({ topic, event }) => {
          const exec = event['execId'] ?? event['id']
          return exec === undefined || exec === '' || exec === id ? topic : `${topic} ${exec}`
        }),
    bundle: (id, options = {}) => {
      const bundle = bundleOf(id)
      mkdirSync(join(bundle, 'rootfs'), { recursive: true })
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(makeSpec({ root: rootfs, ...options }, `${basename(dir)}-${id}`)))
      makeFifo(join(bundle, 'log'), 0o700)
      return bundle
    },
    action: async (id, action, args = [], env = {}) => {
      const { status, output } = await execute(reaper, shimBinary, {
        args: [
          '-namespace',
          namespace,
          '-address',
          join(dir, 'containerd.sock'),
          '-publish-binary',
          '/bin/false',
          '-id',
          id,
          ...args,
          action,
        ],
        cwd: bundleOf(id),
        env: { ...process.env, TTRPC_ADDRESS: eventSocket, SHIM_SOCKET_DIR: socketDir, CONTAINERD_SHIM_RUNTIME: runtime, ...env },
        group: 'process',
        separateErrors: true,
      })
      return { status, output }
    },
    start: async (id, { scope, stdin = 'params', options } = {}) => {
      const extensions = options === undefined ? [] : [{ value: options }]
      const params = BootstrapParams.fromPartial({ instanceId: id, namespace, socketDir, extensions })
      const input = {
        params: () => BootstrapParams.encode(params).finish(),
        options: () => AnyMessage.encode(options ?? { typeUrl: '', value: new Uint8Array(0) }).finish(),
        empty: () => new Uint8Array(0),
      }[stdin]()
      const { status, output } = await execute(reaper, shimBinary, {
        args: [
          '-namespace',
          namespace,
          '-address',
          join(dir, 'containerd.sock'),
          '-publish-binary',
          '/bin/false',
          '-id',
          id,
          'start',
        ],
        cwd: bundleOf(id),
        env: {
          ...process.env,
          TTRPC_ADDRESS: eventSocket,
          SHIM_SOCKET_DIR: socketDir,
          CONTAINERD_SHIM_RUNTIME: runtime,
          ...(scope === undefined ? {} : { CONTAINERD_SHIM_SCOPE: scope }),
        },
        group: 'process',
        input,
      })
      if (status !== 0) throw new Error(`start failed: ${output.toString()}`)
      const address = stdin === 'params' ? BootstrapResult.decode(output).address : output.toString()
      const connection = await connectTtrpc(address.replace('unix://', ''))
      const tasks = connection.client(TaskDefinition)
      const shim = { address, connection, tasks, pid: (await tasks.connect({ id })).shimPid }
      shims.push(shim)
      return shim
    },
    deleteAction: async (id) => {
      const { status, output } = await stage.action(id, 'delete', ['-bundle', bundleOf(id)])
      if (status !== 0) throw new Error(`delete failed: ${output.toString()}`)
      return DeleteResponse.decode(output)
    },
    close: async () => {
      for (const shim of shims) {
        shim.connection.close()
        if (isAlive(shim.pid)) process.kill(shim.pid, 'SIGKILL')
      }
      if (existsSync(join(dir, 'bundles'))) for (const id of readdirSync(join(dir, 'bundles'))) await stage.deleteAction(id)
      server.destroy()
      rmSync(dir, { recursive: true, force: true })
      rmSync(join('/run/containerd/runc', namespace), { recursive: true, force: true })
    },
  }
  return stage
}

function makeRootfs(rootfs: string): void {
  for (const name of ['bin', 'proc', 'dev', 'sys', 'tmp', 'etc', 'root']) mkdirSync(join(rootfs, name), { recursive: true })
  cpSync('/bin/busybox', join(rootfs, 'bin/busybox'))
  for (const applet of [
    'sh',
    'cat',
    'echo',
    'sleep',
    'true',
    'stty',
    'head',
    'dd',
    'ps',
    'kill',
    'seq',
    'yes',
    'md5sum',
    'id',
    'test',
  ]) {
    symlinkSync('busybox', join(rootfs, 'bin', applet))
  }
}

function makeSpec(
  { args = ['sh', '-c', 'exit 0'], terminal = false, hostPid, memoryLimit, annotations, root }: SpecOptions,
  cgroup: string,
): unknown {
  const capabilities = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE', 'CAP_SETUID', 'CAP_SETGID']
  return {
    ociVersion: '1.0.2',
    process: processSpec(args, terminal, capabilities),
    root: { path: root, readonly: true },
    hostname: 'test',
    annotations,
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs' },
    ],
    linux: {
      cgroupsPath: `/${cgroup}`,
      namespaces: [...(hostPid ? [] : [{ type: 'pid' }]), { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }],
      resources: memoryLimit === undefined ? {} : { memory: { limit: memoryLimit, swap: memoryLimit } },
    },
  }
}

export function processSpec(args: readonly string[], terminal = false, bounding: readonly string[] = ['CAP_KILL']): object {
  return {
    terminal,
    user: { uid: 0, gid: 0 },
    args,
    env: ['PATH=/bin', 'TERM=xterm'],
    cwd: '/',
    capabilities: { bounding, effective: bounding, permitted: bounding },
    noNewPrivileges: true,
  }
}

export function execSpec(args: readonly string[], terminal = false): Any {
  return {
    typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
    value: Buffer.from(JSON.stringify(processSpec(args, terminal))),
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Everything in the file systems and the process table that carries the stage's name. */
export function leftovers(stage: Stage): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(stage.dir))
  const processes = execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(stage.dir))
  const sockets = existsSync(join(stage.dir, 's')) ? readdirSync(join(stage.dir, 's')) : []
  const groups = ['memory', 'pids', 'unified', '.'].flatMap((name) => {
    const dir = join('/sys/fs/cgroup', name)
    return existsSync(dir) ? readdirSync(dir).filter((group) => group.startsWith(basename(stage.dir))) : []
  })
  return [...mounts, ...processes, ...sockets, ...groups]
}
