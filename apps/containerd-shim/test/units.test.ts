import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TaskOOM } from '@containerd-ts/api/containerd/events/task'
import { CreateOptions, RuncOptions } from '@containerd-ts/api/containerd/linux/runc/options'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { serveTtrpc, type TtrpcServer, ttrpcError } from '@containerd-ts/ttrpc'
import { describe, expect, test } from 'vitest'
import { createExitTracker } from '../src/exit-tracker.js'
import { parseFlags } from '../src/flags.js'
import { createMutex } from '../src/mutex.js'
import { createPublisher } from '../src/publisher.js'
import { decodeOptions } from '../src/runtime-options.js'
import { socketPath } from '../src/socket-address.js'
import { parseStdio } from '../src/stdio-uri.js'

test('the command line is that of every shim', () => {
  const args = ['-namespace', 'ns', '-address', '/c.sock', '-publish-binary', '', '-id=x', '--debug', '-bundle', '/b', 'delete']
  expect(parseFlags(args)).toMatchObject({
    namespace: 'ns',
    address: '/c.sock',
    publishBinary: '',
    id: 'x',
    debug: true,
    bundle: '/b',
    action: 'delete',
  })
  expect(parseFlags(['-v'])).toMatchObject({ version: true, action: '' })
  expect(parseFlags(['-debug=false', 'start'])).toMatchObject({ debug: false, action: 'start' })
  expect(() => parseFlags(['-nonsense'])).toThrow('flag provided but not defined: -nonsense')
  expect(() => parseFlags(['-id'])).toThrow('flag needs an argument: -id')
})

test('the socket is where clients look for it', () => {
  const name = '5e250b13f984a15f73216d143af1bf3c64171aa56c781ba9d4040c75b2c1eee2'
  expect(socketPath('/run/containerd/s', '/run/containerd/containerd.sock', 'default', 'x')).toBe(`/run/containerd/s/${name}`)
})

test('options are understood in the encodings of all generations of clients', () => {
  const options = { binaryName: 'crun', root: '/r', systemdCgroup: true }
  const pack = (typeUrl: string, value: Uint8Array) => decodeOptions({ typeUrl, value })
  for (const prefix of ['', 'types.containerd.io/'])
    expect(pack(`${prefix}containerd.runc.v1.Options`, Options.encode(Options.fromPartial(options)).finish())).toMatchObject(
      options,
    )
  const linux = { runtime: 'crun', runtimeRoot: '/r', systemdCgroup: true }
  const value = RuncOptions.encode(RuncOptions.fromPartial(linux)).finish()
  expect(pack('containerd.linux.runc.RuncOptions', value)).toMatchObject(options)
  const create = { noPivotRoot: true, noNewKeyring: true, shimCgroup: '/s', ioUid: 1, ioGid: 2 }
  expect(
    pack('containerd.linux.runc.CreateOptions', CreateOptions.encode(CreateOptions.fromPartial(create)).finish()),
  ).toMatchObject(create)
  expect(() => pack('some.Thing', value)).toThrow('unsupported option type "some.Thing"')
  expect(() => pack('containerd.runc.v1.Options', Buffer.from([0xff]))).toThrow('cannot be decoded')
})

test('streams are named by path or URI', () => {
  expect(parseStdio('')).toEqual({ kind: 'null' })
  expect(parseStdio('/a b')).toEqual({ kind: 'fifo', path: '/a b' })
  expect(parseStdio('fifo:///a%20b')).toEqual({ kind: 'fifo', path: '/a b' })
  expect(parseStdio('file:///l/x.log')).toEqual({ kind: 'file', path: '/l/x.log' })
  expect(parseStdio('binary:///bin/log?b=1&a&b=2')).toEqual({
    kind: 'binary',
    path: '/bin/log',
    args: ['b', '1', 'a', ''],
    readyRequired: false,
  })
  expect(parseStdio('binary-v2:///bin/log')).toEqual({ kind: 'binary', path: '/bin/log', args: [], readyRequired: true })
  expect(() => parseStdio('http://x')).toThrow('unknown STDIO scheme http')
})

describe('exits', () => {
  test('that come before the pid is known are kept for whoever expects one', () => {
    const exits = createExitTracker()
    const heard: number[] = []
    const expectation = exits.expect()
    exits.onExit(10, 3)
    expectation.track(10, ({ status }) => heard.push(status))
    expectation.track(11, ({ status }) => heard.push(status))
    exits.onExit(11, 4)
    exits.onExit(11, 5)
    expect(heard).toEqual([3, 4])
  })

  test('of a process that had the pid before are not taken for those of another', () => {
    const exits = createExitTracker()
    const heard: number[] = []
    const long = exits.expect()
    exits.onExit(10, 1)
    const later = exits.expect()
    later.track(10, ({ status }) => heard.push(status))
    expect(heard).toEqual([])
    exits.onExit(10, 2)
    later.end()
    expect(heard).toEqual([2])
    exits.onExit(12, 7)
    long.track(12, ({ status }) => heard.push(status))
    long.end()
    expect(heard).toEqual([2, 7])
    // Nobody expects anything: nothing is kept.
    exits.onExit(13, 8)
    exits.expect().track(13, ({ status }) => heard.push(status))
    expect(heard).toEqual([2, 7])
  })
})

test('a mutex runs one task at a time, in order, whatever becomes of them', async () => {
  const lock = createMutex()
  const log: string[] = []
  const task = (name: string, fails = false) =>
    lock(async () => {
      log.push(`${name} begins`)
      await new Promise((resolve) => setTimeout(resolve, 5))
      log.push(`${name} ends`)
      if (fails) throw new Error(name)
    })
  const results = await Promise.allSettled([task('a'), task('b', true), task('c')])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

describe('the publisher', () => {
  const serve = (path: string, ids: string[], refuse: () => boolean): Promise<TtrpcServer> =>
    serveTtrpc(
      { path },
      {
        services: [
          {
            definition: EventsDefinition,
            handlers: {
              forward: async (_ctx: unknown, { envelope }: { envelope?: { event?: { value: Uint8Array } } }) => {
                if (refuse()) throw ttrpcError('Unavailable', 'not now')
                ids.push(TaskOOM.decode(envelope?.event?.value ?? new Uint8Array(0)).containerId)
                return {}
              },
            },
          },
        ],
        context: () => ({}),
      },
    )

  test('keeps the order over refusals, a restart of the daemon and its absence', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'publisher-'))
    const path = join(dir, 's')
    const publisher = createPublisher({ address: path, namespace: 'ns', log: () => {} })
    const publish = (containerId: string) =>
      publisher.publish('/tasks/oom', 'containerd.events.TaskOOM', TaskOOM, { containerId })
    const ids: string[] = []
    publish('before anybody listens')
    let refusals = 1
    const first = await serve(path, ids, () => refusals-- > 0)
    publish('b')
    await expect.poll(() => ids, { timeout: 6000 }).toEqual(['before anybody listens', 'b'])
    first.destroy()
    const second = await serve(path, ids, () => false)
    publish('c')
    publish('d')
    await publisher.flush(5000)
    expect(ids.slice(2)).toEqual(['c', 'd'])
    publisher.close()
    second.destroy()
    rmSync(dir, { recursive: true })
  })
})
