/** One figure of one task. */
export interface Sample {
  /** Without the prefix `container_`. */
  readonly name: string
  readonly value: bigint
  readonly labels?: Readonly<Record<string, string>>
}

/** A sample for each field of `message` that `names` lists. */
export function samples<M extends object>(message: M | undefined, names: Readonly<Partial<Record<keyof M, string>>>): Sample[] {
  if (message === undefined) return []
  return Object.entries<string | undefined>(names).flatMap(([field, name]) => {
    const value: unknown = message[field as keyof M]
    return name !== undefined && typeof value === 'bigint' ? [{ name, value }] : []
  })
}
