import { InvalidArgumentError } from './errors.js'
import { quote } from './identifier.js'

const hexLength: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

/** What is wrong with a digest, undefined when it is well-formed: a known algorithm, a colon, lower-case hex of exact length. */
export function digestProblem(digest: string): string | undefined {
  const match = /^([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([A-Za-z0-9=_-]+)$/.exec(digest)
  if (match === null) return 'invalid checksum digest format'
  const [, algorithm = '', hex = ''] = match
  const length = hexLength[algorithm]
  if (length === undefined) return 'unsupported digest algorithm'
  if (hex.length !== length) return 'invalid checksum digest length'
  return /^[0-9a-f]+$/.test(hex) ? undefined : 'invalid checksum digest format'
}

/** @throws InvalidArgumentError when `digest` is not well-formed. */
export function validateDigest(digest: string): void {
  const problem = digestProblem(digest)
  if (problem !== undefined) throw new InvalidArgumentError(`${quote(digest)} failed validation: ${problem}`)
}

/** Splits a well-formed digest. @throws InvalidArgumentError */
export function parseDigest(digest: string): { algorithm: string; hex: string } {
  validateDigest(digest)
  const colon = digest.indexOf(':')
  return { algorithm: digest.slice(0, colon), hex: digest.slice(colon + 1) }
}
