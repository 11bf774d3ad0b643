import { dirname } from 'node:path'
import type { Mount } from './mount-all.js'

/** The directories that an overlay mount names. */
export function overlayDirectories(options: readonly string[]): { upper?: string; work?: string; lowers: string[] } {
  const directories: { upper?: string; work?: string; lowers: string[] } = { lowers: [] }
  for (const option of options) {
    const equals = option.indexOf('=')
    const value = option.slice(equals + 1)
    switch (option.slice(0, equals)) {
      case 'upperdir':
        directories.upper = value
        break
      case 'workdir':
        directories.work = value
        break
      case 'lowerdir':
        directories.lowers = value.split(':')
        break
    }
  }
  return directories
}

/** Options that fit into the kernel's one page, to be mounted by a thread whose working directory is `directory`. */
export interface CompactOptions {
  directory: string
  options: string[]
}

/**
 * Makes lowerdirs relative to a directory that they have in common, so that many layers fit. Undefined when there is only one, or
 * nothing in common.
 */
export function compactLowerdirs(options: readonly string[]): CompactOptions | undefined {
  const index = options.findIndex((option) => option.startsWith('lowerdir='))
  const lowers = options[index]?.slice('lowerdir='.length).split(':') ?? []
  if (lowers.length < 2) return undefined
  // The prefix may end within a name, which then does not count.
  const directory = dirname(`${commonPrefix(lowers)}x`)
  if (directory === '/' || directory === '.') return undefined
  const relative = lowers.map((lower) => lower.slice(directory.length + 1))
  if (relative.some((path) => path === '')) return undefined
  return { directory, options: [...options.filter((_, i) => i !== index), `lowerdir=${relative.join(':')}`] }
}

function commonPrefix(paths: readonly string[]): string {
  const [first = '', ...rest] = paths
  let length = first.length
  for (const path of rest) {
    let same = 0
    while (same < length && path[same] === first[same]) same++
    length = same
  }
  return first.slice(0, length)
}

/** The same mounts for reading only: an overlay loses its work directory, and its upper directory becomes the first lower one. */
export function readonlyMounts(mounts: readonly Mount[]): Mount[] {
  return mounts.map((mount) => ({
    ...mount,
    options:
      mount.type === 'overlay'
        ? readonlyOverlay(mount.options)
        : [...mount.options.filter((option) => option !== 'rw' && option !== 'ro'), 'ro'],
  }))
}

function readonlyOverlay(options: readonly string[]): string[] {
  const { upper } = overlayDirectories(options)
  return options
    .filter((option) => !/^(?:upperdir|workdir|uidmap|gidmap)=/.test(option))
    .map((option) =>
      upper !== undefined && option.startsWith('lowerdir=') ? `lowerdir=${upper}:${option.slice('lowerdir='.length)}` : option,
    )
}

/** The same mounts without overlay's `volatile`, which would forbid that the directories are mounted again. */
export function withoutVolatile(mounts: readonly Mount[]): Mount[] {
  return mounts.map((mount) =>
    mount.type === 'overlay'
      ? { ...mount, options: mount.options.filter((option) => option !== 'volatile' && option !== 'fsync=volatile') }
      : mount,
  )
}
