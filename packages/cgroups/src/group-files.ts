import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const maxUint64 = 0xffff_ffff_ffff_ffffn

/** The text of a file of a group, undefined when it is missing or cannot be read. */
export function readText(dir: string | undefined, name: string): string | undefined {
  if (dir === undefined) return undefined
  try {
    return readFileSync(join(dir, name), 'utf8')
  } catch {
    return undefined
  }
}

/** A number; `max` is all ones, what is no number is 0. */
export function parseNumber(text: string | undefined): bigint {
  const word = text?.trim() ?? ''
  if (word === 'max') return maxUint64
  return /^\d+$/.test(word) ? BigInt(word) : 0n
}

/** The one number of a file, 0 when it is missing. */
export function readNumber(dir: string | undefined, name: string): bigint {
  return parseNumber(readText(dir, name))
}

/** A file of lines `key value`; what is missing reads as 0. */
export type Counters = (key: string) => bigint

export function parseCounters(text: string | undefined): Counters {
  const values = new Map<string, bigint>()
  for (const line of text?.split('\n') ?? []) {
    const at = line.indexOf(' ')
    if (at > 0) values.set(line.slice(0, at), parseNumber(line.slice(at + 1)))
  }
  return (key) => values.get(key) ?? 0n
}

/** Sizes of huge pages, for instance `2MB`, of which a group has files. */
export function hugePageSizes(dir: string | undefined, suffix: string): string[] {
  if (dir === undefined) return []
  try {
    return readdirSync(dir).flatMap((name) => {
      const match = /^hugetlb\.([^.]+)\.(.+)$/.exec(name)
      return match?.[1] !== undefined && match[2] === suffix ? [match[1]] : []
    })
  } catch {
    return []
  }
}
