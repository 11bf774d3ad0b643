import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { InvalidArgumentError, quote } from '@containerd-ts/interface'
import { type IdRange, mountIdMapped, UnmountFlag, unmountSync, withUserNamespace } from '@containerd-ts/linux'
import type { Mount } from './mount-all.js'
import { overlayDirectories } from './overlay-options.js'

/** Translations of owners, from those on disk (`container`) to those that are shown (`host`). */
export interface IdMaps {
  uids: IdRange[]
  gids: IdRange[]
}

/** @throws InvalidArgumentError unless the text is `container:host:size[,…]` */
export function parseIdMap(text: string): IdRange[] {
  return text.split(',').map((range) => {
    const match = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(range)
    if (match === null) throw new InvalidArgumentError(`${quote(text)} is no id mapping`)
    const [container = 0, host = 0, size = 0] = match.slice(1).map(Number)
    return { container, host, size }
  })
}

/** Mounts the tree `source` on `target` with translated owners. @throws SystemError */
export function mountMapped(
  source: string,
  target: string,
  { uids, gids }: IdMaps,
  how: { recursive?: boolean; readonly?: boolean } = {},
): void {
  withUserNamespace(uids, gids, (userNamespace) => mountIdMapped({ source, target, userNamespace, ...how }))
}

/**
 * Has the lower directories of an overlay mount show translated owners: they are mounted once more, where the overlay finds them. `undo`
 * takes that away; an overlay that is mounted by then keeps it.
 */
export function mapLowers(mount: Mount, maps: IdMaps): { mount: Mount; undo: () => void } {
  const { lowers } = overlayDirectories(mount.options)
  const common = commonDirectory(lowers)
  const place = mkdtempSync(join(tmpdir(), 'ovl-idmapped'))
  try {
    mountMapped(common, place, maps, { readonly: true })
  } catch (error) {
    rmdirSync(place)
    throw error
  }
  const mapped = lowers.map((lower) => join(place, relative(common, lower))).join(':')
  return {
    mount: { ...mount, options: mount.options.map((option) => (option.startsWith('lowerdir=') ? `lowerdir=${mapped}` : option)) },
    undo() {
      unmountSync(place, UnmountFlag.Detach)
      rmdirSync(place)
    },
  }
}

/** The deepest directory that holds all of them. */
function commonDirectory(paths: readonly string[]): string {
  const [first = '/', ...rest] = paths
  let directory = dirname(first)
  while (directory !== '/' && !rest.every((path) => path.startsWith(`${directory}/`))) directory = dirname(directory)
  return directory
}
