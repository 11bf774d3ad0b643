import type { KeptDescriptors } from './container.js'

/*
 * What the daemon has kept of processes while no shim held it is inherited; which descriptors they are is in the environment:
 *
 *   CONTAINERD_SHIM_KEPT={"<pid>":{"process":3,"master":4}}
 */
const variable = 'CONTAINERD_SHIM_KEPT'

/** What was inherited, by pid. Whoever asks first has it. @throws Error for a value that is not understood. */
export function inheritKept(): Map<number, KeptDescriptors> {
  const text = process.env[variable]
  delete process.env[variable]
  const kept = new Map<number, KeptDescriptors>()
  if (text === undefined) return kept
  const value: unknown = JSON.parse(text)
  if (!isObject(value)) throw new Error(`${variable} holds no object`)
  for (const [pid, descriptors] of Object.entries(value)) {
    if (!isObject(descriptors)) throw new Error(`${variable} holds no descriptors of process ${pid}`)
    const { process, master } = descriptors
    kept.set(Number(pid), { ...(isDescriptor(process) ? { process } : {}), ...(isDescriptor(master) ? { master } : {}) })
  }
  return kept
}

/** Descriptors that a child shall get from `first` on, and the variable that tells it which they are. */
export function passOnKept(
  kept: ReadonlyMap<number, KeptDescriptors>,
  first: number,
): { descriptors: number[]; env: Readonly<Record<string, string>> } {
  if (kept.size === 0) return { descriptors: [], env: {} }
  const descriptors: number[] = []
  const place = (fd: number | undefined) => (fd === undefined ? undefined : first + descriptors.push(fd) - 1)
  // What is undefined is left out of the text.
  const places = [...kept].map(([pid, { process, master }]) => [pid, { process: place(process), master: place(master) }])
  return { descriptors, env: { [variable]: JSON.stringify(Object.fromEntries(places)) } }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isDescriptor(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
