import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { FailedPreconditionError } from '@containerd-ts/interface'
import { parse } from 'smol-toml'
import { usableHeaders } from './headers.js'
import type { HostCapability, HostConfiguration, HostsFile, HostTls, Unnamed } from './hosts.js'
import { isRecord } from './record.js'

/**
 * Reads a hosts.toml and the certificates that it names, relative to its directory. Unlike containerd, which would go on without any
 * mirror, this refuses a file that is wrong; keys that it does not know are passed over.
 *
 * @throws FailedPreconditionError naming the file.
 */
export async function parseHostsFile(path: string, text: string): Promise<HostsFile> {
  try {
    const file: unknown = parse(text)
    if (!isRecord(file)) throw new Error('not a table')
    const hosts = file['host'] ?? {}
    if (!isRecord(hosts)) throw new Error('"host" is not a table')
    const dir = dirname(path)
    const mirrors: HostConfiguration[] = []
    for (const [server, keys] of Object.entries(hosts)) {
      if (!isRecord(keys)) throw new Error(`host ${JSON.stringify(server)} is not a table`)
      mirrors.push(await named(server, dir, keys))
    }
    const server = optional(file, 'server', isString) ?? ''
    return { mirrors, self: server === '' ? await common(dir, file) : await named(server, dir, file) }
  } catch (error) {
    throw new FailedPreconditionError(`${path}: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}

type Keys = Readonly<Record<string, unknown>>

async function named(server: string, dir: string, keys: Keys): Promise<HostConfiguration> {
  const text = server.startsWith('http') ? server : `https://${server}`
  if (!URL.canParse(text)) throw new Error(`malformed URL ${JSON.stringify(server)}`)
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`${JSON.stringify(server)} is neither http nor https`)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new Error(`${JSON.stringify(server)} has more than a host and a path`)
  }
  const path = url.pathname.replace(/\/+/g, '/').replace(/\/$/, '')
  const given = optional(keys, 'override_path', isBoolean) === true || path.endsWith('/v2')
  return {
    scheme: url.protocol === 'http:' ? 'http' : 'https',
    host: url.host,
    path: given ? path : `${path}/v2`,
    capabilities: capabilities(keys),
    headers: {},
    ...(await common(dir, keys)),
  }
}

async function common(dir: string, keys: Keys): Promise<Unnamed> {
  const ca = await Promise.all(listOf(keys, 'ca').map((name) => readFile(resolve(dir, string('ca', name)), 'utf8')))
  const pairs = await Promise.all(
    listOf(keys, 'client').map((pair) => {
      const [cert, key, ...more] = Array.isArray(pair) ? pair : [pair, undefined]
      if (more.length > 0 || (Array.isArray(pair) && key === undefined)) throw new Error('"client" has something that is no pair')
      return clientPair(resolve(dir, string('client', cert)), key === undefined ? undefined : resolve(dir, string('client', key)))
    }),
  )
  const skipVerify = optional(keys, 'skip_verify', isBoolean)
  const tls: HostTls = {
    ...tlsFrom(ca, pairs),
    ...(skipVerify !== undefined && { skipVerify }),
  }
  const dialTimeout = optional(keys, 'dial_timeout', isString)
  return {
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(dialTimeout !== undefined && dialTimeout !== '' && { dialTimeoutMs: milliseconds(dialTimeout) }),
    ...(keys['header'] !== undefined && { headers: headers(keys['header']) }),
  }
}

/** What is trusted, and what is shown. */
export function tlsFrom(ca: readonly string[], pairs: readonly { cert: string; key: string }[]): HostTls {
  return {
    ...(ca.length > 0 && { ca }),
    ...(pairs.length > 0 && { cert: pairs.map(({ cert }) => cert), key: pairs.map(({ key }) => key) }),
  }
}

/** A certificate and its key, which may stand in the same file. */
export async function clientPair(cert: string, key: string | undefined): Promise<{ cert: string; key: string }> {
  const text = await readFile(cert, 'utf8')
  return { cert: text, key: key === undefined ? text : await readFile(key, 'utf8') }
}

function capabilities(keys: Keys): Set<HostCapability> {
  const wanted = listOf(keys, 'capabilities').map((name) => string('capabilities', name).toLowerCase())
  const known: readonly HostCapability[] = ['pull', 'resolve', 'push']
  for (const name of wanted) {
    // Referrers are not asked for here.
    if (name !== 'referrers' && !known.some((one) => one === name)) throw new Error(`unknown capability ${JSON.stringify(name)}`)
  }
  return new Set(wanted.length === 0 ? known : known.filter((name) => wanted.includes(name)))
}

function headers(value: unknown): Record<string, string> {
  if (!isRecord(value)) throw new Error('"header" is not a table')
  const entries = Object.entries(value).map(([name, of]): [string, string] => {
    const values = Array.isArray(of) ? of : [of]
    return [name, values.map((one) => string('header', one)).join(', ')]
  })
  return usableHeaders(Object.fromEntries(entries))
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 }

// A duration as Go writes it: 1m30s, 1.5s.
function milliseconds(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|h|m|s)/g)]
  const ms = parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (unitMs[unit] ?? Number.NaN), 0)
  const whole = parts.map(([part]) => part).join('') === text
  if (!whole || !(ms >= 1 && ms < 2 ** 31)) throw new Error(`"dial_timeout" is no usable duration: ${JSON.stringify(text)}`)
  return ms
}

function optional<T>(keys: Keys, key: string, is: (value: unknown) => value is T): T | undefined {
  const value = keys[key]
  if (value === undefined || is(value)) return value
  throw new Error(`${JSON.stringify(key)} has the wrong type`)
}

function listOf(keys: Keys, key: string): readonly unknown[] {
  const value = keys[key]
  if (value === undefined) return []
  return Array.isArray(value) ? value : [value]
}

function string(key: string, value: unknown): string {
  if (typeof value !== 'string') throw new Error(`${JSON.stringify(key)} has something that is no string`)
  return value
}

const isString = (value: unknown): value is string => typeof value === 'string'
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean'
