import { digestProblem, InvalidArgumentError, quote } from '@containerd-ts/interface'

/** Annotation with the whole name of an image, as containerd keeps it. */
export const imageNameAnnotation = 'io.containerd.image.name'
/** The OCI's annotation with the name of an image, of which it wants the tag alone. */
export const refNameAnnotation = 'org.opencontainers.image.ref.name'

const defaultDomain = 'docker.io'
const officialPrefix = 'library/'
const maxPathLength = 255
// Nothing longer can be a reference, and nothing longer is matched.
const maxLength = 1024

const domainPart = '[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*'
const domain = String.raw`(?:${domainPart}(?:\.${domainPart})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?`
const pathPart = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const digest = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}'
const pattern = new RegExp(
  String.raw`^(?<domain>${domain})/(?<path>${pathPart}(?:/${pathPart})*)(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>${digest}))?$`,
)

interface Reference {
  domain: string
  path: string
  /** Empty when there is none. */
  tag: string
  /** Empty when there is none. */
  digest: string
}

/**
 * The whole name of an image from what users of Docker write: `busybox` is `docker.io/library/busybox:latest`. Of a tag and a digest only
 * the digest stays.
 *
 * @throws InvalidArgumentError
 */
export function normalizeReference(name: string): string {
  const reference = parse(name)
  if (reference.digest !== '') return textOf({ ...reference, tag: '' })
  return textOf({ ...reference, tag: reference.tag === '' ? 'latest' : reference.tag })
}

/** The name of an image as users of Docker write it: `docker.io/library/busybox` is `busybox:latest`. @throws InvalidArgumentError */
export function familiarReference(name: string): string {
  const reference = parse(name)
  const tag = reference.tag === '' && reference.digest === '' ? 'latest' : reference.tag
  if (reference.domain !== defaultDomain) return textOf({ ...reference, tag })
  const official = reference.path.startsWith(officialPrefix) ? reference.path.slice(officialPrefix.length) : ''
  const path = official === '' || official.includes('/') ? reference.path : official
  return textOf({ ...reference, domain: '', path, tag })
}

/** What {@link refNameAnnotation} says of an image: its tag, or the whole name when it has none. */
export function ociReferenceName(name: string): string {
  const slash = name.indexOf('/')
  const [host, rest] = slash < 0 ? [name, ''] : [name.slice(0, slash), name.slice(slash)]
  // A colon in the first component begins a port.
  if (name.includes('://') || host === '' || /:(?!\d*$)/.test(host.replace(/^\[[^\]]*\]/, ''))) return name
  const [, separator, object = ''] = /^[^:@?#]*([:@])([^?#]*)/.exec(rest) ?? []
  return separator === ':' && object !== '' && !object.startsWith('@') ? object : name
}

/**
 * Names for images of an archive: a tag alone gets `prefix` before it, a whole name stays when it is one below `prefix`, and all others
 * become the empty name, which stands for none.
 */
export function filterRefPrefix(prefix: string): (name: string) => string {
  return (name) => (isWhole(name) && !isBelow(name, prefix) ? '' : addPrefix(prefix, name))
}

/** Names for images of an archive: a tag alone gets `prefix` before it, a whole name stays. Without a prefix nothing has a name. */
export function addRefPrefix(prefix: string): (name: string) => string {
  return (name) => addPrefix(prefix, name)
}

function addPrefix(prefix: string, name: string): string {
  if (prefix === '') return ''
  return isWhole(name) ? name : `${prefix}:${name}`
}

function isWhole(name: string): boolean {
  return /[/:@]/.test(name)
}

/** Not for a part of a component. */
function isBelow(name: string, prefix: string): boolean {
  return name.startsWith(prefix) && ['', '/', ':', '@'].includes(name.charAt(prefix.length))
}

function textOf({ domain, path, tag, digest }: Reference): string {
  return `${domain === '' ? '' : `${domain}/`}${path}${tag === '' ? '' : `:${tag}`}${digest === '' ? '' : `@${digest}`}`
}

function parse(name: string): Reference {
  const wrong = (what: string) => new InvalidArgumentError(`image name ${quote(name.slice(0, maxLength))}: ${what}`)
  if (name.length > maxLength) throw wrong('too long')
  if (/^[a-f0-9]{64}$/.test(name)) throw wrong('64 hexadecimal digits are the name of no repository')
  const whole = withDomain(name)
  const { domain = '', path = '', tag = '', digest = '' } = pattern.exec(whole)?.groups ?? {}
  if (path === '')
    throw wrong(/[A-Z]/.test(whole.slice(whole.indexOf('/'))) ? 'the repository must be lower-case' : 'invalid format')
  if (path.length > maxPathLength) throw wrong(`the repository has more than ${maxPathLength} characters`)
  const problem = digest === '' ? undefined : digestProblem(digest)
  if (problem !== undefined) throw wrong(problem)
  return { domain, path, tag, digest }
}

/** A first component is a domain when it looks like one: all others are on Docker's registry. */
function withDomain(name: string): string {
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  const isDomain = first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first
  const [named, rest] = slash >= 0 && isDomain ? [first, name.slice(slash + 1)] : [defaultDomain, name]
  const domain = named === 'index.docker.io' ? defaultDomain : named
  return `${domain}/${domain === defaultDomain && !rest.includes('/') ? officialPrefix : ''}${rest}`
}
