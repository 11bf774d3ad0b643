import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A btrfs of its own, or why there cannot be one. */
export type BtrfsDisk = { path: string; remove(): void } | { reason: string }

/** Makes a btrfs in a file and mounts it by a loop device. */
export function makeBtrfsDisk(): BtrfsDisk {
  if (process.getuid?.() !== 0) return { reason: 'mounting needs root' }
  const dir = mkdtempSync(join(tmpdir(), 'btrfs-'))
  const [image, path] = [join(dir, 'image'), join(dir, 'mounted')]
  writeFileSync(image, '')
  truncateSync(image, 1 << 30)
  for (const [command, ...args] of [
    ['mkfs.btrfs', '-q', image],
    ['mkdir', path],
    ['mount', '-o', 'loop', image, path],
  ] as const) {
    const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8' })
    if (error === undefined && status === 0) continue
    rmSync(dir, { recursive: true })
    return { reason: `${command}: ${error?.message ?? stderr.trim()}` }
  }
  return {
    path,
    remove() {
      execFileSync('umount', [path])
      rmSync(dir, { recursive: true })
    },
  }
}
