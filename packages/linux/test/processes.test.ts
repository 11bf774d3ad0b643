import { closeSync, readFileSync, readlinkSync, readSync, writeSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  closeAll,
  createMemoryFile,
  createPipe,
  createReaper,
  descriptorFrom,
  execute,
  exitStatusOf,
  findExecutable,
  openProcess,
  pollReadable,
  type Reaper,
  spawn,
} from '../src/index.js'

let reaper: Reaper
beforeEach(() => {
  reaper = createReaper({ scope: 'own' })
})
afterEach(() => reaper.close())

const sh = (script: string, options = {}) => execute(reaper, 'sh', { args: ['-c', script], ...options })

describe('execute', () => {
  test('gives the exit status, with 128 + n for a signal, and the output in the order of writing', async () => {
    const { status, output } = await sh('echo one; echo two >&2; echo three; exit 42')
    expect([status, output.toString()]).toEqual([42, 'one\ntwo\nthree\n'])
    expect((await sh('kill -TERM $$')).status).toBe(143)
    expect((await sh('kill -PIPE $$')).status).toBe(141)
    const apart = await sh('echo one; echo two >&2', { separateErrors: true })
    expect([apart.output.toString(), apart.errors.toString()]).toEqual(['one\n', 'two\n'])
  })

  test('passes on descriptors, and nothing else', async () => {
    const pipe = createPipe()
    const { output } = await sh('echo passed >&4; ls /proc/self/fd', { descriptors: [pipe.read, pipe.write] })
    const passed = Buffer.alloc(16)
    expect(passed.toString('utf8', 0, readSync(pipe.read, passed))).toBe('passed\n')
    closeAll([pipe.read, pipe.write])
    // The last one is that of the directory.
    expect(output.toString().trim().split('\n')).toEqual(['0', '1', '2', '3', '4', '5'])
  })

  test('feeds any amount of input and keeps any amount of output, and does not wait for descendants', async () => {
    const input = Buffer.alloc(3_000_000, 'x')
    const { output } = await sh('cat; sleep 5 & echo', { input })
    expect(output.length).toBe(input.length + 1)
  })

  test('ends a program when the signal is aborted', async () => {
    const started = performance.now()
    expect((await sh('sleep 10', { signal: AbortSignal.timeout(50) })).status).toBe(137)
    expect(performance.now() - started).toBeLessThan(5000)
  })
})

describe('spawn', () => {
  test('hands over exactly the given descriptors, crossed ones too', async () => {
    const first = createMemoryFile('first')
    const second = createMemoryFile('second')
    // Descriptors below the number of targets are those that an order of copying could overwrite.
    const pid = spawn('sh', {
      args: ['-c', 'ls -l /proc/$$/fd >&1; readlink /proc/$$/fd/2 >&2'],
      stdio: [null, first, second, 0, 1, 2],
    })
    expect(await reaper.wait(pid)).toBe(0)
    const listing = readFileSync(`/proc/self/fd/${first}`, 'utf8')
    const targets = [...listing.matchAll(/ (\d+) -> (.*)$/gm)].map(([, fd, target]) => [Number(fd), target])
    expect(targets.map(([fd]) => fd)).toEqual([0, 1, 2, 3, 4, 5])
    expect(targets[0]?.[1]).toBe('/dev/null')
    expect(targets[1]?.[1]).toContain('memfd:first')
    expect(targets[3]?.[1]).toBe(readlinkSync('/proc/self/fd/0'))
    expect(targets[5]?.[1]).toBe(readlinkSync('/proc/self/fd/2'))
    expect(readFileSync(`/proc/self/fd/${second}`, 'utf8')).toContain('memfd:second')
  })

  test('starts with default signals, in the directory, environment and session asked for', async () => {
    const { output } = await execute(reaper, 'sh', {
      // By the shell itself, which blocks signals while it starts another program.
      args: [
        '-c',
        'while read -r l; do case $l in Sig[BI]*) echo "$l"; esac; done < /proc/$$/status; pwd; echo $A; cut -d" " -f1,5,6 /proc/$$/stat',
      ],
      cwd: tmpdir(),
      env: { PATH: process.env['PATH'], A: 'b', UNSET: undefined },
      group: 'session',
    })
    const [blocked, ignored, cwd, variable, ids] = output.toString().split('\n')
    expect([blocked, ignored]).toEqual(['SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000'])
    expect([cwd, variable]).toEqual([tmpdir(), 'b'])
    const [pid, group, session] = ids?.split(' ') ?? []
    expect([group, session]).toEqual([pid, pid])
  })

  test('says what is missing', () => {
    expect(() => spawn('no-such-program')).toThrow(expect.objectContaining({ code: 'ENOENT', path: 'no-such-program' }))
    expect(() => spawn('/no/such')).toThrow(expect.objectContaining({ code: 'ENOENT', path: '/no/such' }))
    expect(() => spawn('sh', { cwd: '/no/dir' })).toThrow(expect.objectContaining({ code: 'ENOENT', path: '/no/dir' }))
    expect(() => spawn('/etc/passwd')).toThrow(expect.objectContaining({ code: 'EACCES' }))
    expect(() => spawn('sh', { args: ['a\0b'] })).toThrow(TypeError)
    expect(findExecutable('sh')).toMatch(/\/sh$/)
  })
})

test('every one of many exits is collected, with its own status', async () => {
  const statuses = Array.from({ length: 100 }, (_, i) => i)
  const exits = statuses.map((status) => reaper.wait(spawn('sh', { args: ['-c', `exit ${status}`] })))
  expect(await Promise.all(exits)).toEqual(statuses)
})

test('a reaper of its own children leaves those of child_process alone', async () => {
  const { execFile } = await import('node:child_process')
  const other = new Promise<number>((resolve) => execFile('sh', ['-c', 'exit 9'], (error) => resolve(Number(error?.code))))
  const own = reaper.wait(spawn('sh', { args: ['-c', 'exit 8'] }))
  expect(await Promise.all([own, other])).toEqual([8, 9])
})

describe('a process that is no child', () => {
  test('is watched to its end, which the kernel tells if it can', async () => {
    const { output } = await sh('(sleep 0.2; exit 7) >/dev/null & echo $!')
    const pid = Number(output)
    const fd = openProcess(pid)
    try {
      expect(exitStatusOf(fd, pid)).toBeUndefined()
      await new Promise<void>((resolve) => {
        const poll = pollReadable(fd, () => {
          poll.close()
          resolve()
        })
      })
      const [major = 0, minor = 0] = release().split('.').map(Number)
      const told = major > 6 || (major === 6 && minor >= 15)
      // Where its new parent was quick, an older kernel has forgotten.
      await expect.poll(() => exitStatusOf(fd, pid)).toBeOneOf(told ? [7] : [7, undefined])
    } finally {
      closeSync(fd)
    }
    expect(() => openProcess(2 ** 22 + 1)).toThrow(expect.objectContaining({ code: 'ESRCH' }))
  })

  test('has descriptors that can be taken over', () => {
    const file = createMemoryFile('shared')
    const self = openProcess(process.pid)
    const taken = descriptorFrom(self, file)
    writeSync(taken, 'same')
    expect(readFileSync(`/proc/self/fd/${file}`, 'utf8')).toBe('same')
    expect(() => descriptorFrom(self, 9999)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    for (const fd of [file, self, taken]) closeSync(fd)
  })
})
