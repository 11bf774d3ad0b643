import { closeSync, constants, openSync, writeFileSync } from 'node:fs'
import { cString, type Path, pathText } from './c-string.js'
import { bind, check, libc } from './libc.js'

const CLONE_VM = 0x100
const CLONE_FILES = 0x400
const CLONE_NEWUSER = 0x10000000
const SIGKILL = 9
const __WALL = 0x40000000
const AT_FDCWD = -100
const AT_RECURSIVE = 0x8000
const AT_EMPTY_PATH = 0x1000
const OPEN_TREE_CLONE = 1
const MOVE_MOUNT_F_EMPTY_PATH = 4
const MOUNT_ATTR_RDONLY = 1n
const MOUNT_ATTR_IDMAP = 0x100000n
// The same on every architecture that Node runs on.
const SYS_open_tree = 428
const SYS_move_mount = 429
const SYS_mount_setattr = 442
const stackSize = 64 * 1024

const clone = bind('int clone(void *entry, void *stack, int flags, void *argument)')
const kill = bind('int kill(int pid, int signal)')
const waitpid = bind('int waitpid(int pid, void *status, int options)')
const syscall5 = bind('long syscall(long number, long a, const void *b, long c, const void *d, unsigned long e)')

/** A stretch of ids: `size` of them, from `container` on inside and from `host` on outside. */
export interface IdRange {
  container: number
  host: number
  size: number
}

/** Gives `use` a descriptor of a user namespace with these mappings, which nobody is in. @throws SystemError */
export function withUserNamespace<T>(uids: readonly IdRange[], gids: readonly IdRange[], use: (fd: number) => T): T {
  const pid = startSleeper()
  try {
    writeFileSync(`/proc/${pid}/uid_map`, mapText(uids))
    writeFileSync(`/proc/${pid}/gid_map`, mapText(gids))
    const fd = openSync(`/proc/${pid}/ns/user`, constants.O_RDONLY)
    try {
      return use(fd)
    } finally {
      closeSync(fd)
    }
  } finally {
    kill(pid, SIGKILL)
    waitpid(pid, null, __WALL)
  }
}

// A process that does nothing but wait for its end, on a stack of its own, in a new user namespace: only a process can have one. Without
// an end signal it is of no interest to whoever else collects children.
function startSleeper(): number {
  const dlsym = libc().func('void *dlsym(void *handle, const char *name)') as (handle: null, name: string) => unknown
  // Stacks grow downwards.
  const top = stack.subarray(stackSize - 256)
  return check(clone(dlsym(null, 'pause'), top, CLONE_VM | CLONE_FILES | CLONE_NEWUSER, null), 'clone')
}

// Never given back: a sleeper uses it until it has ended.
const stack = Buffer.alloc(stackSize)

function mapText(ranges: readonly IdRange[]): string {
  return ranges.map(({ container, host, size }) => `${container} ${host} ${size}\n`).join('')
}

/** A mount whose files belong to other owners than the ones on disk. */
export interface IdMappedMount {
  source: Path
  target: Path
  /** What is mounted below `source` comes along, with its ids as they are. */
  recursive?: boolean
  readonly?: boolean
  /** See {@link withUserNamespace}. */
  userNamespace: number
}

/**
 * Mounts the tree `source` on `target` with its owners translated by a user namespace. In the calling thread's mount namespace.
 * @throws SystemError, for instance EINVAL from a filesystem that cannot
 */
export function mountIdMapped({ source, target, recursive = false, readonly = false, userNamespace }: IdMappedMount): void {
  const flags = OPEN_TREE_CLONE | 0o2000000 | (recursive ? AT_RECURSIVE : 0)
  const tree = check(syscall5(SYS_open_tree, AT_FDCWD, cString(source), flags, null, 0), 'open_tree', pathText(source))
  try {
    const attributes = Buffer.alloc(32)
    attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP | (readonly ? MOUNT_ATTR_RDONLY : 0n), 0)
    attributes.writeBigUInt64LE(BigInt(userNamespace), 24)
    const empty = cString('')
    check(
      syscall5(SYS_mount_setattr, tree, empty, AT_EMPTY_PATH, attributes, attributes.length),
      'mount_setattr',
      pathText(source),
    )
    check(
      syscall5(SYS_move_mount, tree, empty, AT_FDCWD, cString(target), MOVE_MOUNT_F_EMPTY_PATH),
      'move_mount',
      pathText(target),
    )
  } finally {
    closeSync(tree)
  }
}
