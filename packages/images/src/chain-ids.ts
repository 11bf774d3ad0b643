import { createHash } from 'node:crypto'

/** Names the stack of layers up to each one, as all clients do: the first by its diff id, the others by a chained hash. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = []
  for (const diffId of diffIds) {
    const below = chain.at(-1)
    chain.push(below === undefined ? diffId : `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`)
  }
  return chain
}
