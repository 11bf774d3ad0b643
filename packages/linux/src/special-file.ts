import { cString, type Path, pathText } from './c-string.js'
import { bind, check } from './libc.js'

const mknod = bind('int mknod(const void *path, unsigned int mode, unsigned long device)')

/** Types of special files, for the mode of {@link makeNode}. */
export const FileType = { Fifo: 0o010000, Character: 0o020000, Block: 0o060000, Regular: 0o100000, Socket: 0o140000 } as const

/** The number of a device. */
export interface DeviceNumber {
  major: number
  minor: number
}

/** Creates a device, FIFO or socket; `mode` is a {@link FileType} with permissions, from which the umask is taken. @throws SystemError EEXIST */
export function makeNode(path: Path, mode: number, device: DeviceNumber = { major: 0, minor: 0 }): void {
  check(mknod(cString(path), mode, encodeDevice(device)), 'mknod', pathText(path))
}

/** The `rdev` or `dev` of a stat, taken apart. */
export function decodeDevice(number: number | bigint): DeviceNumber {
  const device = BigInt(number)
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  }
}

function encodeDevice({ major, minor }: DeviceNumber): bigint {
  const [ma, mi] = [BigInt(major), BigInt(minor)]
  return (mi & 0xffn) | ((ma & 0xfffn) << 8n) | ((mi & ~0xffn) << 12n) | ((ma & ~0xfffn) << 32n)
}
