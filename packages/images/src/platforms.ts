import { hostPlatform, InvalidArgumentError, quote } from '@containerd-ts/interface'

/** What an image is for, in the OCI's words. */
export interface Platform {
  os: string
  architecture: string
  /** Of the architecture, for instance `v7`; empty for the usual one. */
  variant: string
  osVersion?: string
  osFeatures?: readonly string[]
}

/** Which platforms will do, and which do better. */
export interface PlatformMatcher {
  matches(platform: Platform): boolean
  /** Negative when `a` is to be preferred; for platforms that match. */
  compare(a: Platform, b: Platform): number
}

const architectures: Readonly<Partial<Record<string, string>>> = {
  i386: '386',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  armel: 'arm',
}

/** The same platform by its usual names: `aarch64` is `arm64`, `amd64/v1` is `amd64`, `arm` is `arm/v7`. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase()
  const named = platform.architecture.toLowerCase()
  const architecture = architectures[named] ?? named
  return { ...platform, os, architecture, variant: normalizeVariant(named, architecture, platform.variant.toLowerCase()) }
}

function normalizeVariant(named: string, architecture: string, variant: string): string {
  switch (architecture) {
    case '386':
      return ''
    case 'amd64':
      return variant === 'v1' ? '' : variant
    case 'arm64':
      return variant === '8' || variant === 'v8' ? '' : variant
    case 'arm':
      if (named === 'armhf') return 'v7'
      if (named === 'armel') return 'v6'
      if (variant === '') return 'v7'
      return /^\d$/.test(variant) ? `v${variant}` : variant
    default:
      return variant
  }
}

/**
 * A platform as users write it: `linux/amd64`, `linux/arm/v7`, an operating system or an architecture alone; the rest is this machine's.
 * Features may follow the operating system in parentheses, as in `linux(+erofs)/amd64`.
 *
 * @throws InvalidArgumentError
 */
export function parsePlatform(text: string): Platform {
  const wrong = () => new InvalidArgumentError(`${quote(text)}: cannot parse platform specifier`)
  const parts = text.split('/')
  if (parts.length > 3 || parts.some((part) => part === '')) throw wrong()
  const [first = '', architecture, variant = ''] = parts
  const [, os = '', features] = /^([A-Za-z0-9_.-]+)(?:\(([^()]*)\))?$/.exec(first) ?? []
  if (os === '' || parts.slice(1).some((part) => !/^[A-Za-z0-9_.-]+$/.test(part))) throw wrong()
  const host = hostPlatform()
  const osFeatures = features
    ?.split('+')
    .filter((feature) => feature !== '')
    .sort()
  const platform = { variant, ...(osFeatures?.length && { osFeatures }) }
  if (architecture !== undefined) return normalizePlatform({ os, architecture, ...platform })
  const known = new Set([
    'linux',
    'windows',
    'darwin',
    'macos',
    'freebsd',
    'netbsd',
    'openbsd',
    'android',
    'illumos',
    'plan9',
    'solaris',
  ])
  return known.has(os.toLowerCase())
    ? normalizePlatform({ os, architecture: host.architecture, ...platform })
    : normalizePlatform({ os: host.os, architecture: os, ...platform })
}

/** A platform as it is told: `linux/amd64`, `linux/arm/v7`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os === '' ? 'unknown' : os, architecture, variant].filter((part) => part !== '').join('/')
}

/** Takes everything, and prefers nothing. */
export const anyPlatform: PlatformMatcher = { matches: () => true, compare: () => 0 }

/** Exactly these platforms, the first one preferred. */
export function listedPlatforms(platforms: readonly Platform[]): PlatformMatcher {
  return rankedBy(platforms.map(normalizePlatform))
}

/** What a machine of this kind runs: its own architecture, and the older and smaller ones that it runs as well. */
export function platformsOfMachine(platform: Platform): PlatformMatcher {
  return rankedBy(compatible(normalizePlatform(platform)))
}

/** Every architecture of an operating system, for those who have an emulator; what the machine runs by itself is preferred. */
export function platformsOfSystem(platform: Platform): PlatformMatcher {
  const native = platformsOfMachine(platform)
  const { os, osFeatures } = normalizePlatform(platform)
  const rank = (other: Platform) => (native.matches(other) ? 0 : 1)
  return {
    matches(other) {
      const normal = normalizePlatform(other)
      return normal.os === os && hasFeatures(osFeatures, normal)
    },
    compare: (a, b) => rank(a) - rank(b) || (rank(a) === 0 ? native.compare(a, b) : 0),
  }
}

function rankedBy(platforms: readonly Platform[]): PlatformMatcher {
  const rank = (other: Platform) => {
    const normal = normalizePlatform(other)
    const found = platforms.findIndex((platform) => isSame(platform, normal))
    return found < 0 ? platforms.length : found
  }
  return { matches: (platform) => rank(platform) < platforms.length, compare: (a, b) => rank(a) - rank(b) }
}

/** What an image needs must be among what is offered; nothing is offered unless it is said. */
function hasFeatures(offered: readonly string[] = [], { osFeatures: needed = [] }: Platform): boolean {
  return needed.every((feature) => offered.includes(feature))
}

function isSame(own: Platform, other: Platform): boolean {
  return (
    own.os === other.os &&
    own.architecture === other.architecture &&
    own.variant === other.variant &&
    (own.os !== 'linux' || hasFeatures(own.osFeatures, other))
  )
}

/** The platform and what it runs besides, best first. */
function compatible(platform: Platform): Platform[] {
  const { architecture, variant } = platform
  const of = (name: string, variants: string[]) => variants.map((v) => ({ ...platform, architecture: name, variant: v }))
  const older = (first: number, last: number) =>
    Array.from({ length: Math.max(0, first - last + 1) }, (_, index) => `v${first - index}`)
  const number = Number(/^v(\d+)$/.exec(variant)?.[1] ?? Number.NaN)
  switch (architecture) {
    case 'amd64':
      return [...of('amd64', [...(number > 1 ? older(number, 2) : []), '']), ...of('386', [''])]
    case 'arm':
      return of('arm', number > 5 ? older(number, 5) : [variant])
    case 'arm64':
      return [...of('arm64', [...(variant === '' ? [] : [variant]), '']), ...of('arm', older(8, 5))]
    default:
      return [platform]
  }
}
