import { type BigIntStats, closeSync, constants, lstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { getXattr, isErrno } from '@containerd-ts/linux'
import { childOf } from './entry-path.js'
import { bytePath, namesIn } from './tree-operations.js'

/** `unmodified` is told only of files with several names, one of which may have changed. */
export type ChangeKind = 'add' | 'modify' | 'delete' | 'unmodified'

/** Hears of what makes the upper tree of the lower one. `stat` is the upper file's; absent for `delete`. */
export type OnChange = (kind: ChangeKind, path: string, stat: BigIntStats | undefined) => void

const S_IFMT = BigInt(constants.S_IFMT)
const S_IFDIR = BigInt(constants.S_IFDIR)
const capability = 'security.capability'

export interface CompareTreesOptions {
  /** Directory of an overlay's upper layer that tells where `upper` differs from `lower`; see `overlay-guide.ts`. */
  guide?: string
}

/**
 * Walks two trees at once, names in byte order and each directory before what is in it. A removed directory is told of once. Without
 * a lower tree everything is an addition.
 */
export function compareTrees(
  lower: string | undefined,
  upper: string,
  onChange: OnChange,
  options: CompareTreesOptions = {},
): void {
  if (lower !== undefined && options.guide !== undefined && showsLower(options.guide))
    compareGuided({ lower, upper, guide: options.guide, onChange }, '/')
  else compareDirectories(lower, upper, '/', onChange)
}

interface Guided {
  lower: string
  upper: string
  guide: string
  onChange: OnChange
}

/** Looks only at what the upper layer of an overlay has in a directory that shows the lower one's entries beside its own. */
function compareGuided(trees: Guided, directory: string): void {
  const { lower, upper, guide, onChange } = trees
  for (const name of namesIn(join(guide, directory)).sort(byBytes)) {
    const path = childOf(directory, name)
    const upperStat = lstatOf(join(upper, path))
    const lowerStat = lstatOf(join(lower, path))
    if (upperStat === undefined) {
      if (lowerStat !== undefined) onChange('delete', path, undefined)
      continue
    }
    const below = compareEntry(trees, path, lowerStat, upperStat)
    if (!isDirectory(upperStat)) continue
    if (below !== undefined && showsLower(join(guide, path))) compareGuided(trees, path)
    else compareDirectories(below, upper, path, onChange)
  }
}

/** False for a directory of an upper layer that hides the lower one's, or stands upon another one. */
function showsLower(directory: string): boolean {
  const marks = ['trusted.overlay.opaque', 'trusted.overlay.redirect', 'user.overlay.opaque', 'user.overlay.redirect']
  return lstatOf(directory)?.isDirectory() === true && marks.every((mark) => xattr(directory, mark) === undefined)
}

function lstatOf(path: string): BigIntStats | undefined {
  return lstatSync(bytePath(path), { bigint: true, throwIfNoEntry: false })
}

function compareDirectories(lower: string | undefined, upper: string, directory: string, onChange: OnChange): void {
  const lowerNames = lower === undefined ? [] : namesIn(join(lower, directory)).sort(byBytes)
  const upperNames = namesIn(join(upper, directory)).sort(byBytes)
  let l = 0
  for (let u = 0; ; ) {
    const lowerName = lowerNames[l]
    const upperName = upperNames[u]
    if (lowerName === undefined && upperName === undefined) return
    if (upperName === undefined || (lowerName !== undefined && lowerName < upperName)) {
      onChange('delete', childOf(directory, lowerName ?? ''), undefined)
      l++
      continue
    }
    const path = childOf(directory, upperName)
    const upperStat = lstatSync(bytePath(join(upper, path)), { bigint: true })
    u++
    let lowerStat: BigIntStats | undefined
    if (lowerName === upperName && lower !== undefined) {
      l++
      lowerStat = lstatSync(bytePath(join(lower, path)), { bigint: true })
    }
    const below = compareEntry({ lower, upper, onChange }, path, lowerStat, upperStat)
    if (isDirectory(upperStat)) compareDirectories(below, upper, path, onChange)
  }
}

/** Tells of what is in the upper tree at a path. Gives back the lower tree if that has a directory there, too. */
function compareEntry(
  { lower, upper, onChange }: { lower: string | undefined; upper: string; onChange: OnChange },
  path: string,
  lowerStat: BigIntStats | undefined,
  upperStat: BigIntStats,
): string | undefined {
  if (lower === undefined || lowerStat === undefined) {
    onChange('add', path, upperStat)
    return undefined
  }
  if (!isSame(join(lower, path), lowerStat, join(upper, path), upperStat)) onChange('modify', path, upperStat)
  else if (isLinked(upperStat)) onChange('unmodified', path, upperStat)
  return isDirectory(lowerStat) ? lower : undefined
}

/** True for a file that has, or may have, other names. */
export function isLinked(stat: BigIntStats): boolean {
  return !isDirectory(stat) && stat.nlink > 1n
}

function isDirectory(stat: BigIntStats): boolean {
  return (stat.mode & S_IFMT) === S_IFDIR
}

function isSame(lower: string, l: BigIntStats, upper: string, u: BigIntStats): boolean {
  if (l.ino === u.ino && l.dev === u.dev) return true
  if (l.mode !== u.mode || l.uid !== u.uid || l.gid !== u.gid || l.rdev !== u.rdev) return false
  if (!sameBytes(xattr(lower, capability), xattr(upper, capability))) return false
  if (isDirectory(u)) return true
  if (l.size !== u.size || seconds(l) !== seconds(u)) return false
  if (nanos(l) !== nanos(u)) return false
  if (nanos(u) !== 0n) return true
  // Times that come from an archive may have lost their fraction: only the content tells.
  if (u.isSymbolicLink()) return readlinkSync(bytePath(lower), 'latin1') === readlinkSync(bytePath(upper), 'latin1')
  return u.size === 0n || sameContent(lower, upper)
}

function seconds({ mtimeNs }: BigIntStats): bigint {
  return (mtimeNs - nanosOf(mtimeNs)) / 1_000_000_000n
}

function nanos({ mtimeNs }: BigIntStats): bigint {
  return nanosOf(mtimeNs)
}

function nanosOf(ns: bigint): bigint {
  return ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
}

/** An extended attribute, undefined where there is none or there can be none. */
export function xattr(path: string, name: string): Buffer | undefined {
  try {
    return getXattr(bytePath(path), name)
  } catch (error) {
    if (isErrno(error, 'ENOTSUP')) return undefined
    throw error
  }
}

function sameBytes(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b)
}

function sameContent(lower: string, upper: string): boolean {
  const size = 128 * 1024
  const fds: number[] = []
  const [a, b] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)]
  try {
    for (const path of [lower, upper]) fds.push(openSync(bytePath(path), constants.O_RDONLY | constants.O_NOFOLLOW))
    const [fdA = -1, fdB = -1] = fds
    for (;;) {
      const countA = readFully(fdA, a)
      const countB = readFully(fdB, b)
      if (countA !== countB || a.compare(b, 0, countB, 0, countA) !== 0) return false
      if (countA < size) return true
    }
  } finally {
    for (const fd of fds) closeSync(fd)
  }
}

function readFully(fd: number, target: Buffer): number {
  let filled = 0
  while (filled < target.length) {
    const count = readSync(fd, target, filled, target.length - filled, null)
    if (count === 0) break
    filled += count
  }
  return filled
}

/** `path` is absolute within the tree at `root`. */
export function join(root: string, path: string): string {
  return path === '/' ? root : root === '/' ? path : root + path
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
