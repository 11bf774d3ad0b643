import { InvalidArgumentError, quote, validateDigest } from '@containerd-ts/interface'

/** The parts of an image's name. */
export interface Reference {
  /** With the port, if there is one. */
  host: string
  /** The path on the host, `library/busybox`. */
  repository: string
  tag?: string
  /** Not checked yet: whatever stands after the `@`. */
  digest?: string
  /** All that follows the repository: `tag`, `tag@digest` or `@digest`. Empty for a bare repository. */
  object: string
}

const hostPattern = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])(?::\d+)?$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
// Besides what is not printable, these would mean something else in a URL.
const unsafe = /[\s\\%\p{C}]/u

/**
 * Splits `host/repository:tag@digest`. The host is required and nothing is added: `busybox` is a host. As in containerd's reference
 * package a query is dropped, and the form of tag and digest is checked only by whoever uses them.
 *
 * @throws InvalidArgumentError
 */
export function parseReference(reference: string): Reference {
  const invalid = (why: string) => new InvalidArgumentError(`invalid reference ${quote(reference.slice(0, 512))}: ${why}`)
  if (reference.includes('://')) throw invalid('a scheme is not allowed')
  const [text = ''] = reference.split(/[?#]/, 1)
  if (unsafe.test(text)) throw invalid('unsafe character')
  const slash = text.indexOf('/')
  // Without a path all of it is the host, as a port cannot be told from a tag.
  const host = slash < 0 ? text : text.slice(0, slash)
  if (host === '') throw invalid('hostname required')
  if (!hostPattern.test(host)) throw invalid('malformed host')
  const path = slash < 0 ? '' : text.slice(slash + 1)
  const end = path.search(/[:@]/)
  const segments = (end < 0 ? path : path.slice(0, end)).split('/').filter((segment) => segment !== '')
  if (segments.some((segment) => segment === '.' || segment === '..')) throw invalid('relative path')
  const object = end < 0 ? '' : path.slice(path[end] === ':' ? end + 1 : end)
  const at = object.indexOf('@')
  const tag = at < 0 ? object : object.slice(0, at)
  return {
    host,
    repository: segments.join('/'),
    ...(tag !== '' && { tag }),
    ...(at >= 0 && { digest: object.slice(at + 1) }),
    object,
  }
}

/** A reference that a registry can be asked for. @throws InvalidArgumentError also for malformed tags and digests. */
export function usableReference(reference: string): Reference {
  const parsed = parseReference(reference)
  if (parsed.repository === '') throw new InvalidArgumentError(`invalid reference ${quote(reference)}: repository required`)
  if (parsed.digest !== undefined) validateDigest(parsed.digest)
  if (parsed.tag !== undefined && !tagPattern.test(parsed.tag)) {
    throw new InvalidArgumentError(`invalid reference ${quote(reference)}: malformed tag`)
  }
  return parsed
}
