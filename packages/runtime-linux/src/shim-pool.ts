import type { Client } from '@containerd-ts/api'
import { TaskDefinition as TaskV2 } from '@containerd-ts/api/containerd/task/v2/task'
import { TaskDefinition as TaskV3 } from '@containerd-ts/api/containerd/task/v3/task'
import { UnimplementedError } from '@containerd-ts/interface'
import { connectTtrpc, type TtrpcConnection } from '@containerd-ts/ttrpc'
import type { Bootstrap } from './bootstrap.js'

/** The Task service of a shim; versions 2 and 3 have the same messages. */
export type ShimTasks = Client<typeof TaskV3>

/** A shim process, shared by all tasks that it serves. */
export interface Shim {
  readonly namespace: string
  readonly address: string
  readonly bootstrap: Bootstrap
  readonly tasks: ShimTasks
  readonly isClosed: boolean
  /** Settles when the connection is gone. */
  readonly closed: Promise<void>
  /** Its own pid, once it has answered; kept by whoever greets it. */
  pid: number
  /** How many tasks use it; kept by whoever holds the tasks. */
  users: number
  /** Goes on in version 2, for a shim that promised more than it has. */
  downgrade(): void
  close(): void
}

/** One connection per address. */
export interface ShimPool {
  /** @throws UnimplementedError for an address or protocol that is not spoken here, the system error when nobody listens. */
  connect(namespace: string, bootstrap: Bootstrap): Promise<Shim>
  /** How many connections there are, those being made included. */
  readonly size: number
  close(): void
}

export function createShimPool(connectLimitMs: number): ShimPool {
  const shims = new Map<string, Promise<Shim>>()
  const live = new Set<Shim>()

  return {
    connect: async (namespace, bootstrap) => {
      for (let known = shims.get(bootstrap.address); known !== undefined; known = shims.get(bootstrap.address)) {
        const shim = await known
        if (!shim.isClosed) return shim
        await shim.closed
      }
      const connecting = open(namespace, bootstrap, connectLimitMs)
      shims.set(bootstrap.address, connecting)
      const forget = () => {
        if (shims.get(bootstrap.address) === connecting) shims.delete(bootstrap.address)
      }
      connecting.then((shim) => {
        live.add(shim)
        void shim.closed.then(() => {
          live.delete(shim)
          forget()
        })
      }, forget)
      return connecting
    },
    get size() {
      return new Set([...shims.keys(), ...[...live].map(({ address }) => address)]).size
    },
    close: () => {
      for (const shim of live) shim.close()
    },
  }
}

async function open(namespace: string, bootstrap: Bootstrap, limitMs: number): Promise<Shim> {
  if (bootstrap.protocol !== 'ttrpc') throw new UnimplementedError(`shims that speak ${bootstrap.protocol}`)
  const match = /^(?:unix:\/\/)?(\/.*)$/.exec(bootstrap.address)
  if (match?.[1] === undefined) throw new UnimplementedError(`shim address ${JSON.stringify(bootstrap.address)}`)
  const connection = await connectTtrpc(match[1], { timeoutMs: limitMs })
  return shimOver(connection, namespace, bootstrap)
}

function shimOver(connection: TtrpcConnection, namespace: string, bootstrap: Bootstrap): Shim {
  const headers = { 'containerd-namespace-ttrpc': namespace }
  const clientOf = (version: 2 | 3): ShimTasks =>
    version === 3 ? connection.client(TaskV3, headers) : connection.client(TaskV2, headers)
  let current = bootstrap
  let tasks = clientOf(bootstrap.version)
  return {
    namespace,
    address: bootstrap.address,
    get bootstrap() {
      return current
    },
    get tasks() {
      return tasks
    },
    get isClosed() {
      return connection.isClosed
    },
    closed: connection.closed,
    pid: 0,
    users: 0,
    downgrade: () => {
      current = { ...current, version: 2 }
      tasks = clientOf(2)
    },
    close: () => connection.close(),
  }
}
