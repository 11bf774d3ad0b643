import { type Containerd, connect, run } from '@containerd-ts/client'
import { mustExec, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { median, times } from './measure.js'
import { connectRaw, type RawGrpc } from './raw-grpc.js'

/** What is measured of one daemon; every figure is in milliseconds, smaller is better. */
export interface Workload {
  name: string
  measure(subject: Subject): Promise<number>
}

export interface Subject {
  daemon: TestDaemon
  containerd: Containerd
  /** For bulk data, of which a client of TypeScript would spend most of the time itself. */
  raw: RawGrpc
  /** host/name of an image on a loopback registry. */
  image: string
  /** Starts another instance on fresh directories and stops it; gives back the time to its first answer. */
  boot(): Promise<number>
}

/** Starts a daemon with a client of its own. */
export async function startSubject(dir: string, command: string | undefined, image: string): Promise<Subject> {
  let boots = 0
  const start = (name: string) => startDaemon({ dir: `${dir}/${name}`, ...(command !== undefined && { command }) })
  const daemon = await start('daemon')
  return {
    daemon,
    containerd: connect(daemon.address, { namespace: 'bench' }),
    raw: connectRaw(daemon.address),
    image,
    async boot() {
      const other = await start(`boot${boots++}`)
      await other.stop()
      return other.bootMs
    },
  }
}

export const workloads: readonly Workload[] = [
  {
    name: 'boot to serving',
    async measure({ boot }) {
      const measured: number[] = []
      for (let round = 0; round < 3; round++) measured.push(await boot())
      return median(measured.sort((a, b) => a - b))
    },
  },
  {
    name: 'version RPC',
    async measure({ containerd }) {
      for (let warmup = 0; warmup < 200; warmup++) await containerd.version.version({})
      return median(await times(1000, async () => void (await containerd.version.version({}))))
    },
  },
  {
    name: 'pull and unpack (ctr)',
    async measure({ daemon, image }) {
      return median(
        await times(3, async () => {
          await mustExec('ctr', ['--address', daemon.address, '-n', 'bench', 'images', 'pull', '--plain-http', image])
          await mustExec('ctr', ['--address', daemon.address, '-n', 'bench', 'images', 'rm', '--sync', image])
        }),
      )
    },
  },
  {
    name: 'run to exit',
    async measure({ daemon, containerd, image }) {
      await mustExec('ctr', ['--address', daemon.address, '-n', 'bench', 'images', 'pull', '--plain-http', image])
      await run(containerd, { image, args: ['true'] })
      return median(await times(10, async () => void (await run(containerd, { image, args: ['true'] }))))
    },
  },
]
