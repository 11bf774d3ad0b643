import { closeSync, constants, openSync } from 'node:fs'
import { ioctlSync } from './ioctl.js'

const TIOCGPTN = 0x80045430
const TIOCSPTLCK = 0x40045431

/** Both ends of a pseudo-terminal. */
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
    ioctlSync(master, TIOCSPTLCK, argument)
    ioctlSync(master, TIOCGPTN, argument)
    return { master, path: `/dev/pts/${argument.readUInt32LE()}` }
  } catch (error) {
    closeSync(master)
    throw error
  }
}
