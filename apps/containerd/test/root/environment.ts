import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type BuiltImage,
  buildBusyboxImage,
  type DaemonOptions,
  findLastingLeaks,
  type Registry,
  startDaemon,
  startRegistry,
  type TestDaemon,
} from '@containerd-ts/testkit'
import { expect } from 'vitest'

/** A daemon, a registry with one image and a directory that holds all of it. */
export interface Environment {
  readonly dir: string
  readonly daemon: TestDaemon
  readonly image: BuiltImage
  /** The image's name in the registry, as `ctr` pulls it. */
  readonly ref: string
  /** Starts the daemon again on the same directories. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** Stops everything and expects that nothing is left behind. */
  close(): Promise<void>
}

export async function startEnvironment(options: Partial<DaemonOptions> = {}): Promise<Environment> {
  const dir = await mkdtemp(join(tmpdir(), 'containerd-e2e-'))
  const image = await buildBusyboxImage(dir)
  const registry: Registry = await startRegistry(join(dir, 'registry'))
  await registry.push(image.layout, 'library/busybox:latest')
  const start = () => startDaemon({ dir: join(dir, 'd'), ...options })
  let daemon = await start()
  return {
    dir,
    image,
    ref: `${registry.host}/library/busybox:latest`,
    get daemon() {
      return daemon
    },
    async restart(signal) {
      await daemon.stop(signal)
      daemon = await start()
    },
    async close() {
      await registry.stop()
      const code = await daemon.stop()
      try {
        await expectNothingLeft(join(dir, 'd'), () => daemon.log())
      } finally {
        await rm(dir, { recursive: true, force: true })
      }
      expect(code).toBe(0)
    },
  }
}

/** Shows the log beside what is left, if anything is. */
export async function expectNothingLeft(dir: string, log: () => Promise<string> = async () => ''): Promise<void> {
  const leaks = await findLastingLeaks(dir)
  const isLeft = Object.values(leaks).some(({ length }) => length > 0)
  expect(leaks, isLeft ? await log() : '').toEqual({ mounts: [], processes: [], special: [], temporary: [] })
}
