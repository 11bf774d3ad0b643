import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Keeps a process small that lives for long and does little: what it needs for a moment shall not become what it has for ever. */
export interface MemoryKeeper {
  /** To be called when something has come to its end. */
  onDone(): void
}

// Collecting costs milliseconds, so only when something has come together and nothing is going on.
const worthwhile = 100
const quietMs = 1000

export function keepSmall(): MemoryKeeper {
  // Short-lived objects get a megabyte, which V8 would make sixteen. At run time, as a flag on the command line would invalidate the
  // code cache.
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let done = 0
  let quiet: NodeJS.Timeout | undefined
  const whenQuiet = () => {
    done = 0
    quiet = undefined
    collect()
  }
  return {
    onDone: () => {
      done++
      if (done < worthwhile) return
      quiet ??= setTimeout(whenQuiet, quietMs).unref()
      quiet.refresh()
    },
  }
}
