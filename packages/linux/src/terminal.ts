import { ioctlSync } from './ioctl.js'

const TIOCGWINSZ = 0x5413
const TIOCSWINSZ = 0x5414

/** Rows and columns of a terminal. */
export interface WindowSize {
  columns: number
  rows: number
}

/** Sets the size of a terminal, given either side of its pty; the foreground process group gets SIGWINCH. */
export function setWindowSize(fd: number, size: WindowSize): void {
  ioctlSync(fd, TIOCSWINSZ, Buffer.from(Uint16Array.of(size.rows, size.columns, 0, 0).buffer))
}

/** The size of a terminal. */
export function windowSize(fd: number): WindowSize {
  const size = Buffer.alloc(8)
  ioctlSync(fd, TIOCGWINSZ, size)
  return { rows: size.readUInt16LE(0), columns: size.readUInt16LE(2) }
}
