/** One figure of one task. */
export interface Sample {
  /** Without the prefix `container_`. */
  readonly name: string
  /** What the figure is, on one line. */
  readonly help: string
  readonly value: bigint
  readonly labels?: Readonly<Record<string, string>>
}

/** The name of a sample and its help. */
export type Meaning = readonly [name: string, help: string]

/** What both versions have. */
export const pids = {
  limit: ['pids_limit', 'The limit of processes and threads; 0 or 2^64-1 for none.'],
  current: ['pids_current', 'Processes and threads.'],
} as const
export const oomKills: Meaning = ['memory_oom_total', 'Processes that were killed for want of memory.']

/** A sample for each field of `message` that `meanings` lists. */
export function samples<M extends object>(
  message: M | undefined,
  meanings: Readonly<Partial<Record<keyof M, Meaning>>>,
): Sample[] {
  if (message === undefined) return []
  return Object.entries<Meaning | undefined>(meanings).flatMap(([field, meaning]) => {
    const value: unknown = message[field as keyof M]
    return meaning !== undefined && typeof value === 'bigint' ? [{ name: meaning[0], help: meaning[1], value }] : []
  })
}

/** Of names of `memory.stat`, samples as containerd names them. All end in bytes, those that count pages and faults, too. */
export function memoryMeanings<K extends string>(names: Readonly<Record<K, string>>): Record<K, Meaning> {
  const meanings = Object.entries<string>(names).map(([field, name]) => [
    field,
    [`memory_${name}_bytes`, `${name} of memory.stat.`],
  ])
  return Object.fromEntries(meanings) as Record<K, Meaning>
}
