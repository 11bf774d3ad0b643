/** Linux system calls that Node lacks, bound to libc. Every function throws a SystemError with `code`, `errno` and `syscall`. */

export type { Path } from './c-string.js'
export { sendUnixDatagram } from './datagram.js'
export { createMemoryFile, createPipe, duplicate, setBlocking } from './descriptor.js'
export { isErrno, SystemError, systemError } from './errno.js'
export { errorText } from './error-text.js'
export { createEventFd } from './eventfd.js'
export { type ExecuteOptions, type Execution, execute } from './execute.js'
export { holdFifo, makeFifo, type OpenFifoOptions, openFifoForReading, openFifoForWriting } from './fifo.js'
export { type Filesystem, FilesystemType, filesystemOf, syncFilesystem, syncFilesystemSync } from './filesystem.js'
export { lockFile } from './flock.js'
export { type IdMappedMount, type IdRange, mountIdMapped, withUserNamespace } from './id-mapping.js'
export { ioctl, ioctlSync } from './ioctl.js'
export { type MountCall, MountFlag, mount, mountSync, UnmountFlag, unmount, unmountSync } from './mount.js'
export {
  changeDirectory,
  changeDirectoryTo,
  changeRoot,
  enterMountNamespace,
  inUserNamespace,
  setUmask,
  Unshare,
  unshare,
} from './namespace.js'
export { pageSize } from './page-size.js'
export { type Poll, pollReadable, readToEnd } from './poll.js'
export {
  createCoreSchedulingGroup,
  killQuietly,
  oomScoreAdj,
  raiseOomScore,
  setChildSubreaper,
  setOomScoreAdj,
} from './process.js'
export { descriptorFrom, exitStatusOf, openProcess } from './process-descriptor.js'
export { openPseudoTerminal, type PseudoTerminal } from './pseudo-terminal.js'
export { createReaper, type Reaper, type ReaperOptions } from './reaper.js'
export {
  closeAll,
  descriptorOf,
  isServed,
  type PeerCredentials,
  peerCredentials,
  receiveDescriptors,
  socketPair,
} from './socket.js'
export { findExecutable, type SpawnOptions, spawn } from './spawn.js'
export { type DeviceNumber, decodeDevice, FileType, makeNode } from './special-file.js'
export { setWindowSize, type WindowSize, windowSize } from './terminal.js'
export { type FileTime, setTimes, setTimesOf } from './times.js'
export { getXattr, listXattrs, removeXattr, setXattr } from './xattr.js'
