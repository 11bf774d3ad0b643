import { closeSync, constants, openSync } from 'node:fs'
import { bind, check } from './libc.js'

const ioctl = bind('int ioctl(int fd, unsigned long request, void *argument)')
const TIOCGPTN = 0x80045430
const TIOCSPTLCK = 0x40045431

export interface PseudoTerminal {
  /** The side that a terminal program holds. */
  readonly master: number
  /** Path of the side that a program runs on, for instance `/dev/pts/3`. */
  readonly path: string
}

/** Makes a pseudo terminal. The caller closes `master`. */
export function openPseudoTerminal(): PseudoTerminal {
  const master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY)
  try {
    const argument = Buffer.alloc(4)
    check(ioctl(master, TIOCSPTLCK, argument), 'ioctl')
    check(ioctl(master, TIOCGPTN, argument), 'ioctl')
    return { master, path: `/dev/pts/${argument.readUInt32LE()}` }
  } catch (error) {
    closeSync(master)
    throw error
  }
}
