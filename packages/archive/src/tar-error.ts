/** The bytes are no tar archive, or one that says impossible things. */
export class TarError extends Error {
  override readonly name = 'TarError'
}

/** The header cannot be read. The text is that of Go's archive/tar, which clients know. */
export function invalidHeader(what: string): TarError {
  return new TarError(`archive/tar: invalid tar header: ${what}`)
}
