/** A path as Node knows it, or its bytes where they are no UTF-8. */
export type Path = string | Uint8Array

/** The bytes of a path or name with a NUL at the end. @throws TypeError when there is a NUL within, which the kernel would cut at. */
export function cString(text: Path): Buffer {
  const length = typeof text === 'string' ? Buffer.byteLength(text) : text.length
  const bytes = Buffer.alloc(length + 1)
  if (typeof text === 'string') bytes.write(text)
  else bytes.set(text)
  if (bytes.indexOf(0) !== length) throw new TypeError('a path or name must not contain NUL')
  return bytes
}

/** A path for an error message. */
export function pathText(path: Path): string {
  return typeof path === 'string' ? path : Buffer.from(path.buffer, path.byteOffset, path.length).toString()
}
