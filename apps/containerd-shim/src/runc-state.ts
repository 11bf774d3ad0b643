import { closeSync, constants, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, pollReadable } from '@containerd-ts/linux'

/*
 * What runc 1.x keeps of a container in its root directory:
 *
 *   <id>/state.json   configuration, cgroups by controller, hooks
 *   <id>/exec.fifo    there until the start; the container's init waits for a reader of it and then runs the program
 *
 * Two steps of a life need no more than that, and a program of several megabytes that is started for them takes most of their time.
 * Whatever is not as expected here is left to runc.
 */

/** Starts a created container. False when that is runc's business; nothing has happened then. */
export async function startWithoutRunc(dir: string): Promise<boolean> {
  // Its hooks are run by whoever starts it, in some versions.
  if (!isPlain(readState(dir), 'poststart')) return false
  let fifo: number
  try {
    fifo = openSync(join(dir, 'exec.fifo'), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch {
    return false
  }
  const started = await readByte(fifo)
  if (started) rmSync(join(dir, 'exec.fifo'), { force: true })
  return started
}

const startLimitMs = 1000

/** True once the init has written into its FIFO. Closes the descriptor. */
function readByte(fifo: number): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (started: boolean) => {
      clearTimeout(timer)
      poll.close()
      closeSync(fifo)
      resolve(started)
    }
    const timer = setTimeout(() => finish(false), startLimitMs)
    const poll = pollReadable(fifo, () => finish(hasByte(fifo)))
  })
}

function hasByte(fifo: number): boolean {
  try {
    return readSync(fifo, Buffer.alloc(1)) > 0
  } catch {
    return false
  }
}

/** Removes what is left of a container whose processes have ended. False when that is runc's business, which can still do it. */
export async function deleteWithoutRunc(dir: string): Promise<boolean> {
  const state = readState(dir)
  if (!isPlain(state, 'poststop') || state.intel_rdt_path !== '') return false
  const paths = new Set(Object.values(state.cgroup_paths))
  try {
    await Promise.all([...paths].map(removeCgroup))
  } catch {
    return false
  }
  rmSync(dir, { recursive: true, force: true })
  return true
}

interface RuncState {
  cgroup_paths: Record<string, string>
  intel_rdt_path: string
  config: { cgroups: { systemd?: boolean }; Hooks: Record<string, unknown> | null }
}

function readState(dir: string): RuncState | undefined {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(join(dir, 'state.json'), 'utf8'))
  } catch {
    return undefined
  }
  if (!isObject(value) || !isObject(value['config']) || !isObject(value['config']['cgroups'])) return undefined
  const { cgroup_paths: paths, intel_rdt_path: rdt, config } = value
  if (!isObject(paths) || !Object.values(paths).every((path) => isCgroup(path)) || typeof rdt !== 'string') return undefined
  const hooks = config['Hooks']
  return isObject(hooks) || hooks === null ? (value as unknown as RuncState) : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// Only a group of its own, and no hierarchy as a whole.
function isCgroup(path: unknown): boolean {
  return typeof path === 'string' && /^\/sys\/fs\/cgroup\/./.test(path)
}

/** Whether the container is one of runc's, with control groups made by runc itself and without such hooks. */
function isPlain(state: RuncState | undefined, hook: string): state is RuncState {
  if (state === undefined || state.config.cgroups.systemd === true) return false
  const hooks = state.config.Hooks?.[hook]
  return hooks === undefined || hooks === null || (Array.isArray(hooks) && hooks.length === 0)
}

const removalAttempts = 6

/** Removes a control group and those below it. A process that has ended may be in it for another moment. */
async function removeCgroup(path: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rmdir(path)
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      if (!isErrno(error, 'EBUSY') || attempt === removalAttempts) throw error
    }
    if (attempt === 0) await removeBelow(path)
    else await sleep(2 ** attempt)
  }
}

async function removeBelow(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true })
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(path, entry.name))
}
