import { closeSync, type FSWatcher, openSync, readSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createEventFd, pollReadable } from '@containerd-ts/linux'
import { parseCounters, readText } from './group-files.js'
import type { Cgroup } from './hierarchy.js'

/** A watch for processes of a group that the kernel kills for want of memory. */
export interface OomWatch {
  /** Looks once more, so that a kill that has just happened is still told, and ends the watch. */
  close(): void
}

/** Calls `killed` when the kernel has killed processes of a group, once for all that one look finds. */
export function watchOom(cgroup: Cgroup, killed: () => void): OomWatch {
  const dir = cgroup.version === 2 ? cgroup.path : cgroup.paths.get('memory')
  if (dir === undefined) return { close: () => {} }
  const file = cgroup.version === 2 ? 'memory.events' : 'memory.oom_control'
  const count = () => parseCounters(readText(dir, file))('oom_kill')
  let known = count()
  const look = () => {
    const found = count()
    if (found > known) {
      known = found
      killed()
    }
  }
  const stop = cgroup.version === 2 ? watchFile(join(dir, file), look) : watchEventFd(dir, look)
  return {
    close: () => {
      stop()
      look()
    },
  }
}

const settleMs = 100

function watchFile(path: string, changed: () => void): () => void {
  let watcher: FSWatcher
  try {
    watcher = watch(path, { persistent: false }, changed)
  } catch {
    // Out of watches, or gone: the look at the end remains.
    return () => {}
  }
  watcher.on('error', () => watcher.close())
  return () => watcher.close()
}

/** Version 1 counts out-of-memory situations on an eventfd, registered together with the file that it is about. */
function watchEventFd(dir: string, changed: () => void): () => void {
  let event: number
  let control: number
  try {
    control = openSync(join(dir, 'memory.oom_control'), 'r')
  } catch {
    return () => {}
  }
  try {
    event = createEventFd()
    try {
      writeFileSync(join(dir, 'cgroup.event_control'), `${event} ${control}`)
    } catch {
      // Kernels without it: the look at the end remains.
      closeSync(event)
      return () => {}
    }
  } finally {
    closeSync(control)
  }
  let later: NodeJS.Timeout | undefined
  const poll = pollReadable(event, () => {
    readSync(event, Buffer.alloc(8), 0, 8, null)
    // Told when memory has run out, which is just before anything is killed.
    clearTimeout(later)
    later = setTimeout(changed, settleMs).unref()
    changed()
  })
  return () => {
    clearTimeout(later)
    poll.close()
    closeSync(event)
  }
}
