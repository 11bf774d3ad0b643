import { bind } from './libc.js'

const getpagesize = bind('int getpagesize()')
let size = 0

/** Bytes in a page of memory; what the kernel takes as mount options fits into one. */
export function pageSize(): number {
  size ||= getpagesize()
  return size
}
