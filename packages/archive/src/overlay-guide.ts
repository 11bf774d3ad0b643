import { existsSync, readFileSync } from 'node:fs'
import { type Mount, overlayDirectories } from '@containerd-ts/mount'

/**
 * The upper directory of an overlay that stands on exactly the tree it is to be compared with: whatever is not in there is the same in
 * both trees. Undefined where that cannot be told from the mounts.
 */
export function overlayGuide(lower: readonly Mount[], upper: readonly Mount[]): string | undefined {
  const [only, ...others] = upper
  if (only?.type !== 'overlay' || only.target !== '' || others.length > 0) return undefined
  const { upper: directory, lowers } = overlayDirectories(only.options)
  if (directory === undefined || hasUnusualOptions(only.options)) return undefined
  return sameDirectories(lowersOf(lower), lowers) ? directory : undefined
}

/** The directories that a tree for reading consists of, the topmost first. */
function lowersOf(mounts: readonly Mount[]): readonly string[] {
  const [only, ...others] = mounts
  if (only === undefined || only.target !== '' || others.length > 0) return []
  if (only.type === 'bind') return [only.source]
  if (only.type !== 'overlay') return []
  const { upper, lowers } = overlayDirectories(only.options)
  return upper === undefined ? lowers : []
}

function sameDirectories(a: readonly string[], b: readonly string[]): boolean {
  return a.length > 0 && a.length === b.length && a.every((path, index) => path === b[index])
}

// With an index a file keeps its inode when it is copied up, and its other names change without being in the upper directory.
function hasUnusualOptions(options: readonly string[]): boolean {
  if (options.some((option) => /^(?:index|redirect_dir|metacopy|nfs_export)=(?!off$)/.test(option))) return true
  const parameter = '/sys/module/overlay/parameters/index'
  return !options.includes('index=off') && existsSync(parameter) && readFileSync(parameter, 'utf8').trim() !== 'N'
}
