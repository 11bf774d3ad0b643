import type { Containerd } from '@containerd-ts/client'

/** How long other calls took while something ran, in milliseconds. */
export interface Latency {
  p99: number
  max: number
}

const pauseMs = 5

/** Calls the daemon all the while that `work` runs: a call that it can answer at once, and one that asks its metadata. */
export async function latencyDuring(containerd: Containerd, work: () => Promise<void>): Promise<Latency> {
  const times: number[] = []
  let running = true
  const probe = async (call: () => Promise<unknown>) => {
    while (running) {
      const started = performance.now()
      await call()
      times.push(performance.now() - started)
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
  const probes = [probe(() => containerd.version.version({})), probe(() => containerd.images.list({}))]
  try {
    await work()
  } finally {
    running = false
    await Promise.all(probes)
  }
  times.sort((a, b) => a - b)
  return { p99: times[Math.floor(times.length * 0.99)] ?? 0, max: times.at(-1) ?? 0 }
}
