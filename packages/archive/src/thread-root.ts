import { closeSync, constants, mkdtempSync, openSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  changeDirectory,
  changeDirectoryTo,
  changeRoot,
  enterMountNamespace,
  MountFlag,
  mountSync,
  setUmask,
  Unshare,
  unshare,
} from '@containerd-ts/linux'

/**
 * The root directory and the mounts of this thread alone. While it is inside of another root, whatever a path says stays in there:
 * the kernel sees to that. Modules must all be loaded before, for a path would then lead to somebody else's file.
 */
export interface ThreadRoot {
  /** Makes `path`, as seen from the real root, the root until `leave`. */
  enter(path: string): void
  /** Back to the real root. */
  leave(): void
  /**
   * Runs `use` with mounts of its own, which all go away afterwards, on a directory that exists meanwhile below `parent`. May end
   * within another root.
   */
  withPrivateMounts<T>(parent: string, use: (directory: string) => T): T
  /** True when the real root could not be restored: the thread is of no more use. */
  readonly broken: boolean
  /** Runs `use` within the root `path`, from within the root `back`. Not within private mounts. */
  from<T>(path: string, use: () => T, back: string): T
}

/** Takes root, working directory and umask of the calling thread, a worker, out of the process'. */
export function takeThreadRoot(): ThreadRoot {
  const directory = constants.O_RDONLY | constants.O_DIRECTORY
  const realRoot = openSync('/', directory)
  // Modes are exactly what is asked for.
  unshare(Unshare.Filesystem)
  setUmask(0)
  let broken = false

  const leave = () => {
    broken = true
    changeDirectoryTo(realRoot)
    changeRoot('.')
    broken = false
  }
  const returnTo = (mountNamespace: number) => {
    // Until proven otherwise.
    broken = true
    // Nobody else is in the namespace that is left: its mounts go with it.
    enterMountNamespace(mountNamespace)
    leave()
    broken = false
  }
  const enter = (path: string) => {
    changeDirectory(path)
    changeRoot('.')
  }

  return {
    get broken() {
      return broken
    },
    enter,
    leave,
    from(path, use, back) {
      leave()
      try {
        enter(path)
        return use()
      } finally {
        leave()
        enter(back)
      }
    },
    withPrivateMounts(parent, use) {
      const home = openSync('/proc/thread-self/ns/mnt', constants.O_RDONLY)
      try {
        const mountPoint = mkdtempSync(join(parent, 'containerd-mount'))
        try {
          unshare(Unshare.Mounts)
          try {
            // What is unmounted outside goes here too; what is mounted here stays here.
            mountSync({ target: '/', flags: MountFlag.Slave | MountFlag.Recursive })
            return use(mountPoint)
          } finally {
            returnTo(home)
          }
        } finally {
          rmdirSync(mountPoint)
        }
      } finally {
        closeSync(home)
      }
    },
  }
}
