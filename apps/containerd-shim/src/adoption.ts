import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isErrno, openProcess } from '@containerd-ts/linux'
import type { Kept } from './container.js'
import { inheritKept } from './kept-environment.js'
import type { Log } from './log.js'
import type { TaskService } from './task-service.js'

/**
 * Takes over what an earlier shim at the same address left running: every bundle beside `bundle` that names the address. Before anybody
 * is answered, so that its containers are there for whoever asks.
 */
export function adoptAll(tasks: TaskService, bundle: string, address: string, log: Log): void {
  const kept = keptDescriptors()
  const namespace = dirname(bundle)
  for (const id of readdirSync(namespace)) {
    const other = join(namespace, id)
    if (id.startsWith('.') || addressOf(other) !== address) continue
    try {
      tasks.adopt(other, id, kept.take)
    } catch (error) {
      log('error', 'failed to take over a container', { id, error })
    }
  }
  kept.closeRest()
}

function addressOf(bundle: string): string | undefined {
  try {
    const stored: unknown = JSON.parse(readFileSync(join(bundle, 'bootstrap.json'), 'utf8'))
    return typeof stored === 'object' && stored !== null && 'address' in stored ? String(stored.address) : undefined
  } catch {
    return undefined
  }
}

function keptDescriptors(): { take: Kept; closeRest(): void } {
  const given = inheritKept()
  return {
    take: ({ pid, writtenAtMs }) => {
      const found = given.get(pid) ?? {}
      given.delete(pid)
      const processFd = found.process ?? tryOpenProcess(pid, writtenAtMs)
      return { ...found, ...(processFd === undefined ? {} : { process: processFd }) }
    },
    closeRest: () => {
      for (const { process: processFd, master } of given.values())
        for (const fd of [processFd, master]) if (fd !== undefined) closeSync(fd)
    },
  }
}

function tryOpenProcess(pid: number, aliveAtMs: number): number | undefined {
  let fd: number
  try {
    fd = openProcess(pid)
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return undefined
    throw error
  }
  if (startedAtMs(pid) <= aliveAtMs + clockSlackMs) return fd
  // The pid has been given to another process since.
  closeSync(fd)
  return undefined
}

const clockSlackMs = 500
const ticksPerSecond = 100

function startedAtMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
    const [uptime] = readFileSync('/proc/uptime', 'latin1').split(' ')
    return Date.now() - (Number(uptime) - ticks / ticksPerSecond) * 1000
  } catch {
    // It has ended meanwhile, which its descriptor tells.
    return 0
  }
}
