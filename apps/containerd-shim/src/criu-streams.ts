import { closeSync, constants, fstatSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UnknownError } from '@containerd-ts/interface'
import { isErrno } from '@containerd-ts/linux'
import { pathOfFifo, type StdioPaths } from './stdio.js'

/*
 * The standard streams of a container without a terminal are the client's FIFOs, which lie outside of its mounts, where criu finds no
 * file. It takes them when they are named to it: in a dump as external files, in a restore as descriptors that take the place of these.
 * runc, which calls criu, has no option for either, but criu reads a configuration file that its environment names.
 */

/** Where in a checkpoint is kept which stream criu knows by which name. Others, which look for no such file, need pipes instead. */
const namesFile = 'containerd-shim-streams.json'
const name = /^file\[[0-9a-f]+:[0-9a-f]+\]$/

/** criu's name of each stream that is a FIFO, by its descriptor. */
export type StreamNames = ReadonlyMap<number, string>

/** The names of a container's FIFOs. One that is not there any more has none, nor has one with a terminal. */
export function streamNames({ stdin, stdout, stderr, terminal }: StdioPaths & { terminal: boolean }): StreamNames {
  if (terminal) return new Map()
  const names = [stdin, stdout, stderr].map((uri) => nameOf(pathOfFifo(uri)))
  return new Map(names.flatMap((known, fd) => (known === undefined ? [] : [[fd, known] as const])))
}

function nameOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
    return mount === undefined ? undefined : `file[${Number(mount).toString(16)}:${fstatSync(fd).ino.toString(16)}]`
  } finally {
    closeSync(fd)
  }
}

/** Keeps the names beside the dump. @throws SystemError */
export function writeStreamNames(imagePath: string, names: StreamNames): void {
  if (names.size > 0) writeFileSync(join(imagePath, namesFile), JSON.stringify(Object.fromEntries(names)), { mode: 0o600 })
}

/** The names that a checkpoint has; none for one of another shim, or with a terminal. @throws UnknownError for what are no names. */
export function readStreamNames({ checkpoint: imagePath, terminal }: { checkpoint: string; terminal: boolean }): StreamNames {
  if (terminal) return new Map()
  let text: string
  try {
    text = readFileSync(join(imagePath, namesFile), 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return new Map()
    throw error
  }
  try {
    const names: unknown = JSON.parse(text)
    if (typeof names !== 'object' || names === null) throw new TypeError('not an object')
    return new Map(Object.entries(names).map(([fd, known]) => checked(Number(fd), known)))
  } catch (cause) {
    throw new UnknownError(`${namesFile} of the checkpoint is not understood: ${String(cause)}`, { cause })
  }
}

// They become lines of a configuration file, and anybody may have made the checkpoint.
function checked(fd: number, known: unknown): [number, string] {
  if (![0, 1, 2].includes(fd) || typeof known !== 'string' || !name.test(known)) throw new TypeError(JSON.stringify(known))
  return [fd, known]
}

/** Runs what calls criu in an environment that tells it of the streams. */
export async function withCriuStreams<T>(
  bundle: string,
  action: 'dump' | 'restore',
  names: StreamNames,
  run: (environment: Readonly<Record<string, string>>) => Promise<T>,
): Promise<T> {
  if (names.size === 0) return run({})
  const path = join(bundle, 'criu.conf')
  const lines = [...names].map(([fd, known]) => (action === 'dump' ? `external ${known}` : `inherit-fd fd[${fd}]:${known}`))
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 })
  try {
    return await run({ CRIU_CONFIG_FILE: path })
  } finally {
    rmSync(path, { force: true })
  }
}
