import { mkdtemp, rm, stat } from 'node:fs/promises'
import { get, type RequestOptions } from 'node:http'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGrpcClient } from '@containerd-ts/api'
import {
  ForwardRequest,
  EventsDefinition as TtrpcEventsDefinition,
} from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/v1/events'
import { NamespacesDefinition } from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import { bindService, type Context, NotFoundError, type ServicePlugin } from '@containerd-ts/interface'
import { type AnyRegistration, PluginType, silentLogger } from '@containerd-ts/plugin'
import { connectTtrpc } from '@containerd-ts/ttrpc'
import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  type Daemon,
  daemonConfig,
  debugListener,
  grpcListener,
  grpcMetrics,
  metricsListener,
  serve,
  ttrpcListener,
} from '../src/index.js'

let dir: string
let daemon: Daemon | undefined
let seen: Context | undefined
let metricsPort = 0

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'serve-'))
  metricsPort = await freePort()
})
afterEach(async () => {
  await daemon?.close()
  daemon = undefined
  await rm(dir, { recursive: true })
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function httpGet(options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    get(options, async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve(text)
    }).once('error', reject)
  })
}

function service(plugin: ServicePlugin, type: string = PluginType.GRPC): AnyRegistration {
  return { type, id: `service-${type}`, init: () => plugin }
}

const namespaces = service({
  services: [
    bindService(NamespacesDefinition, {
      async get(ctx, { name }) {
        seen = ctx
        if (name === 'missing') throw new NotFoundError('namespace "missing"')
        if (name === 'broken') throw new TypeError('a mistake')
        return { namespace: { name, labels: {} } }
      },
    }),
    bindService(EventsDefinition, {
      async *subscribe(ctx) {
        seen = ctx
        yield { timestamp: undefined, namespace: 'n', topic: '/first', event: undefined }
        await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
      },
    }),
  ],
})

const forward = service(
  {
    services: [
      bindService(TtrpcEventsDefinition, {
        async forward(ctx) {
          seen = ctx
          return {}
        },
      }),
    ],
  },
  PluginType.TTRPC,
)

async function start(
  registrations: readonly AnyRegistration[] = [namespaces, forward, grpcListener, ttrpcListener, metricsListener, debugListener],
  plugins: Record<string, object> = {},
) {
  const table = {
    plugins: {
      ...plugins,
      'io.containerd.server.v1.debug': { address: join(dir, 'debug.sock') },
      'io.containerd.server.v1.metrics': { address: `127.0.0.1:${metricsPort}` },
    },
  }
  const config = daemonConfig(
    { table, files: [] },
    { root: join(dir, 'root'), state: join(dir, 'state'), address: join(dir, 'run/c.sock') },
  )
  daemon = await serve(config, { log: silentLogger, registrations })
  return { daemon, address: join(dir, 'run/c.sock') }
}

function connectGrpc(address: string) {
  const connection = new Client(`unix:${address}`, credentials.createInsecure())
  return {
    connection,
    client: createGrpcClient(NamespacesDefinition, connection),
    events: createGrpcClient(EventsDefinition, connection),
  }
}

test('calls, errors and the first of repeated headers', async () => {
  const { address } = await start()
  expect((await stat(address)).mode & 0o777).toBe(0o660)
  const { connection, client } = connectGrpc(address)
  try {
    expect(
      await client.get({ name: 'a' }, { metadata: { 'containerd-namespace': 'new, old', 'containerd-lease': 'l' } }),
    ).toMatchObject({ namespace: { name: 'a' } })
    expect(seen).toMatchObject({ namespace: 'new', lease: 'l' })
    await expect(client.get({ name: 'missing' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: 'namespace "missing": not found',
    })
    await expect(client.get({ name: 'broken' })).rejects.toMatchObject({ code: status.UNKNOWN, details: 'a mistake' })
    await expect(client.list({})).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  } finally {
    connection.close()
  }
})

test('a header sent twice keeps its first value', async () => {
  const { address } = await start()
  const { connection } = connectGrpc(address)
  try {
    const metadata = new Metadata()
    metadata.add('containerd-namespace', 'inner')
    metadata.add('containerd-namespace', 'outer')
    await new Promise((resolve, reject) => {
      connection.makeUnaryRequest(
        '/containerd.services.namespaces.v1.Namespaces/Get',
        () => Buffer.alloc(0),
        () => ({}),
        {},
        metadata,
        (error, value) => (error ? reject(error) : resolve(value)),
      )
    })
    expect(seen?.namespace).toBe('inner')
  } finally {
    connection.close()
  }
})

test('a client that goes away aborts its stream', async () => {
  const { address } = await start()
  const { connection, events } = connectGrpc(address)
  try {
    for await (const { topic } of events.subscribe({})) {
      expect(topic).toBe('/first')
      break
    }
    const signal = seen?.signal
    expect(signal).toBeDefined()
    if (signal !== undefined && !signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
  } finally {
    connection.close()
  }
})

test('shims reach the ttrpc socket', async () => {
  const { address } = await start()
  const connection = await connectTtrpc(`${address}.ttrpc`)
  await connection.client(TtrpcEventsDefinition, { 'containerd-namespace-ttrpc': 'shims' }).forward(ForwardRequest.create())
  expect(seen?.namespace).toBe('shims')
  connection.close()
})

test('a second daemon on the same root is refused, a stale socket is not', async () => {
  const { daemon: first } = await start()
  const running = first
  await expect(start()).rejects.toThrow(new RegExp(`root .* is in use by another daemon \\(pid ${process.pid}\\)`))
  await running.close()
  await start()
})

test('a socket that another process serves is left alone', async () => {
  const { address } = await start()
  const config = daemonConfig({ table: {}, files: [] }, { root: join(dir, 'root2'), state: join(dir, 'state2'), address })
  await expect(serve(config, { log: silentLogger, registrations: [grpcListener] })).rejects.toThrow('address already in use')
  await new Promise<void>((resolve, reject) =>
    createConnection(address)
      .once('connect', function (this: { destroy(): void }) {
        this.destroy()
        resolve()
      })
      .once('error', reject),
  )
})

test('figures and the state of the process are shown where configured', async () => {
  const { address } = await start()
  const { connection, client } = connectGrpc(address)
  await client.get({ name: 'a' })
  connection.close()
  const vars = JSON.parse(await httpGet({ socketPath: join(dir, 'debug.sock'), path: '/debug/vars' }))
  expect(vars).toMatchObject({ pid: process.pid, plugins: {} })
  const metrics = await httpGet({ host: '127.0.0.1', port: metricsPort, path: '/v1/metrics' })
  expect(metrics).toContain(
    'grpc_server_handled_total{grpc_code="OK",grpc_method="Get",grpc_service="containerd.services.namespaces.v1.Namespaces",grpc_type="unary"} 1',
  )
})

test('how long calls take is counted where it is asked for', async () => {
  const histogram = 'io.containerd.metrics.v1.grpc-prometheus'
  const labels = 'grpc_method="Get",grpc_service="containerd.services.namespaces.v1.Namespaces",grpc_type="unary"'
  const figures = async (grpc_histogram: boolean) => {
    const { address, daemon: running } = await start([namespaces, grpcMetrics, grpcListener, metricsListener], {
      [histogram]: { grpc_histogram },
    })
    const { connection, client } = connectGrpc(address)
    for (const name of ['a', 'b']) await client.get({ name })
    await expect(client.get({ name: 'missing' })).rejects.toThrow('missing')
    connection.close()
    const metrics = await httpGet({ host: '127.0.0.1', port: metricsPort, path: '/v1/metrics' })
    await running.close()
    return metrics
  }
  expect(await figures(false)).not.toContain('grpc_server_handling_seconds')
  const lines = (await figures(true)).split('\n')
  expect(lines).toContain('# TYPE grpc_server_handling_seconds histogram')
  expect(lines).toContain(`grpc_server_handling_seconds_bucket{${labels},le="+Inf"} 3`)
  expect(lines).toContain(`grpc_server_handling_seconds_count{${labels}} 3`)
  const counts = lines.flatMap((line) => /_bucket\{.*le="[\d.]+"\} (\d+)/.exec(line)?.[1] ?? []).map(Number)
  expect(counts).toEqual([...counts].sort((a, b) => a - b))
  expect(counts.length).toBe(11)
  expect(lines.find((line) => line.startsWith('grpc_server_handling_seconds_sum'))).toMatch(/ 0\.\d+$/)
})

test('closing ends streams and removes the sockets', async () => {
  const { daemon: running, address } = await start()
  const { connection, events } = connectGrpc(address)
  const ended = (async () => {
    for await (const _ of events.subscribe({})) void running.close()
  })()
  await expect(ended).rejects.toMatchObject({
    code: expect.toSatisfy((code: number) => [status.UNAVAILABLE, status.CANCELLED].includes(code)),
  })
  await running.close()
  await expect(stat(address)).rejects.toMatchObject({ code: 'ENOENT' })
  connection.close()
})
