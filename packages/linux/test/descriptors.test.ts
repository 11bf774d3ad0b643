import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  closeAll,
  createPipe,
  createReaper,
  holdFifo,
  makeFifo,
  openFifoForReading,
  openFifoForWriting,
  openPseudoTerminal,
  peerCredentials,
  pollReadable,
  receiveDescriptors,
  setBlocking,
  setWindowSize,
  socketPair,
  spawn,
  windowSize,
} from '../src/index.js'

function isBlocking(fd: number): boolean {
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? ''
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) === 0
}

const python = ['/usr/bin/python3', '/usr/local/bin/python3'].find((path) => existsSync(path))
if (python === undefined) console.log('descriptor passing is not tested: there is no python3 to send any')

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'descriptors-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('a FIFO', () => {
  const path = () => join(dir, 'fifo')
  beforeEach(() => makeFifo(path(), 0o600))

  test('is opened for writing when its reader comes, and then blocks', async () => {
    const opening = openFifoForWriting(path())
    await sleep(20)
    const reader = openFifoForReading(path(), false)
    const writer = await opening
    expect(() => readSync(reader, Buffer.alloc(1))).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    expect(isBlocking(writer)).toBe(true)
    expect(isBlocking(reader)).toBe(false)
    setBlocking(writer, false)
    expect(isBlocking(writer)).toBe(false)
    closeAll([reader, writer])
    expect(() => makeFifo(path(), 0o600)).toThrow(expect.objectContaining({ code: 'EEXIST' }))
  })

  test('without a reader fails after the limit, or when given up', async () => {
    await expect(openFifoForWriting(path(), { timeoutMs: 30 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await expect(openFifoForWriting(path(), { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('that is held has neither end nor broken pipe', () => {
    const holder = holdFifo(path())
    const writer = openSync(path(), 'w')
    writeSync(writer, 'abc')
    closeSync(writer)
    const reader = openFifoForReading(path(), false)
    expect(readSync(reader, Buffer.alloc(10))).toBe(3)
    expect(() => readSync(reader, Buffer.alloc(1))).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    closeAll([holder, reader])
  })

  test('is not mistaken for what stands in its place', async () => {
    const file = join(dir, 'file')
    writeFileSync(file, '')
    await expect(openFifoForWriting(file)).rejects.toMatchObject({ code: 'ENXIO', path: file })
    expect(() => openFifoForReading(file, true)).toThrow(expect.objectContaining({ code: 'ENXIO' }))
  })
})

test.runIf(python !== undefined)('descriptors travel over a socket', async () => {
  const [ours, theirs] = socketPair()
  const script = 'import array,socket; s=socket.socket(fileno=0); r,w=__import__("os").pipe(); '
  const send = `${script} s.sendmsg([b"name"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r, w]))])`
  const reaper = createReaper({ scope: 'own' })
  const exit = reaper.wait(spawn(python ?? '', { args: ['-c', send], stdio: [theirs, 1, 2] }))
  closeSync(theirs)
  await new Promise<void>((resolve) => {
    const poll = pollReadable(ours, () => {
      poll.close()
      resolve()
    })
  })
  const { bytes, fds } = receiveDescriptors(ours)
  expect(bytes.toString()).toBe('name')
  expect(fds.length).toBe(2)
  expect(await exit).toBe(0)
  const [read = -1, write = -1] = fds
  writeSync(write, 'through')
  const chunk = Buffer.alloc(10)
  expect(chunk.toString('utf8', 0, readSync(read, chunk))).toBe('through')
  expect(receiveDescriptors(ours)).toEqual({ bytes: Buffer.alloc(0), fds: [] })
  closeAll([...fds, ours])
  reaper.close()
})

test('the peer of a unix socket is known', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve))
  const accepted = new Promise<number>((resolve) => server.once('connection', (socket) => resolve(peerCredentials(socket).pid)))
  const client = connect({ path: join(dir, 's') })
  expect(await accepted).toBe(process.pid)
  client.destroy()
  server.close()
})

test('a watched descriptor is told when it can be read, until it is stopped', async () => {
  const { read, write } = createPipe()
  let calls = 0
  const poll = pollReadable(read, () => {
    calls++
    readSync(read, Buffer.alloc(10))
  })
  await sleep(20)
  expect(calls).toBe(0)
  writeSync(write, 'x')
  await expect.poll(() => calls).toBe(1)
  poll.stop()
  writeSync(write, 'x')
  await sleep(20)
  expect(calls).toBe(1)
  poll.start()
  await expect.poll(() => calls).toBe(2)
  poll.close()
  closeAll([read, write])
})

test('a terminal has the size that it is given', () => {
  const { master } = openPseudoTerminal()
  setWindowSize(master, { columns: 132, rows: 43 })
  expect(windowSize(master)).toEqual({ columns: 132, rows: 43 })
  closeSync(master)
})
