import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '@containerd-ts/interface'
import { clientPair, parseHostsFile, tlsFrom } from './hosts-file.js'
import { isLoopback } from './loopback.js'

/** What a host may be asked for. */
export type HostCapability = 'pull' | 'resolve' | 'push'

/** PEM texts, besides the certificates that the system trusts. */
export interface HostTls {
  ca?: readonly string[] | undefined
  /** The client's certificates, with `key` one for one. */
  cert?: readonly string[] | undefined
  key?: readonly string[] | undefined
  /** Takes whatever certificate the host shows. */
  skipVerify?: boolean | undefined
}

/** One endpoint: a mirror or the registry itself. */
export interface HostConfiguration {
  scheme: 'http' | 'https'
  /** With the port, if there is one. */
  host: string
  /** What paths begin with: `/v2`. */
  path: string
  capabilities: ReadonlySet<HostCapability>
  /** Added to every request to this host; names are in lower case. */
  headers: Record<string, string>
  tls?: HostTls
  /** How long connecting may take; 30 s by default. */
  dialTimeoutMs?: number
  /** Https is tried first, and `scheme`, which is http, when the host does not speak TLS. */
  tlsFirst?: boolean
}

/** Where and how hosts are configured. */
export interface HostsOptions {
  /** The directory of hosts.toml files, as containerd's `config_path`. */
  hostDir?: string | undefined
  /** `http` or `https`, for what is not configured otherwise. */
  defaultScheme?: 'http' | 'https' | undefined
}

const everything: ReadonlySet<HostCapability> = new Set(['pull', 'resolve', 'push'])

/**
 * The endpoints of a host that stands in a reference, in the order in which they are to be asked; itself last. Without configuration
 * it is itself alone, `docker.io` by its true name; one on loopback is tried with https, any certificate being taken, and then http.
 *
 * @throws FailedPreconditionError naming the file that is wrong, system errors of reading.
 */
export async function hostConfigurations(host: string, options: HostsOptions = {}): Promise<HostConfiguration[]> {
  const dir = options.hostDir === undefined ? undefined : await directoryOf(options.hostDir, host)
  const { mirrors, self } = dir === undefined ? { mirrors: [], self: {} } : await load(dir)
  // A `server` of its own says all; otherwise only its TLS and dialing are taken over.
  const own: HostConfiguration =
    'host' in self ? self : { ...defaults(host, options.defaultScheme), ...withTls(host, options, self) }
  return [...mirrors, own].map(preferTls)
}

function defaults(host: string, scheme: 'http' | 'https' | undefined): HostConfiguration {
  const rest = { path: '/v2', capabilities: everything, headers: {} }
  if (host === 'docker.io') return { scheme: 'https', host: 'registry-1.docker.io', ...rest }
  if (scheme !== undefined || !isLoopback(withoutPort(host))) return { scheme: scheme ?? 'https', host, ...rest }
  const port = portOf(host)
  return { scheme: port === '' || port === '443' ? 'https' : 'http', host, ...rest }
}

function withTls(host: string, options: HostsOptions, self: Unnamed): Unnamed {
  if (options.defaultScheme !== undefined || !isLoopback(withoutPort(host)) || portOf(host) === '80') return self
  return { ...self, tls: { ...self.tls, skipVerify: true } }
}

/** What a configuration says about a host whose name it leaves open. */
export type Unnamed = Pick<Partial<HostConfiguration>, 'tls' | 'dialTimeoutMs' | 'headers'>

/** Mirrors in order, and the registry itself: named by `server`, or not. */
export interface HostsFile {
  mirrors: HostConfiguration[]
  self: HostConfiguration | Unnamed
}

function preferTls(host: HostConfiguration): HostConfiguration {
  return host.scheme === 'http' && host.tls !== undefined && portOf(host.host) !== '80' ? { ...host, tlsFirst: true } : host
}

async function directoryOf(root: string, host: string): Promise<string | undefined> {
  const colon = host.lastIndexOf(':')
  const withoutColon = colon > 0 ? [`${host.slice(0, colon)}_${host.slice(colon + 1)}_`] : []
  for (const name of [...withoutColon, host, '_default']) {
    const path = join(root, name)
    try {
      await stat(path)
      return path
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  }
  return undefined
}

async function load(dir: string): Promise<HostsFile> {
  const path = join(dir, 'hosts.toml')
  let text = ''
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
  return text === '' ? { mirrors: [], self: await certificatesIn(dir) } : parseHostsFile(path, text)
}

// Docker's layout: authorities are `.crt`, the client's are `.cert` with a `.key` beside it.
async function certificatesIn(dir: string): Promise<Unnamed> {
  const names = (await readdir(dir, { withFileTypes: true })).flatMap((entry) => (entry.isDirectory() ? [] : entry.name)).sort()
  const ca = await Promise.all(names.filter((name) => name.endsWith('.crt')).map((name) => readFile(join(dir, name), 'utf8')))
  const pairs = await Promise.all(
    names
      .filter((name) => name.endsWith('.cert'))
      .map((name) => {
        const key = name.replace(/cert$/, 'key')
        return clientPair(join(dir, name), names.includes(key) ? join(dir, key) : undefined)
      }),
  )
  if (ca.length === 0 && pairs.length === 0) return {}
  return { tls: tlsFrom(ca, pairs) }
}

function withoutPort(host: string): string {
  return host.replace(/:\d+$/, '')
}

function portOf(host: string): string {
  return /:(\d+)$/.exec(host)?.[1] ?? ''
}
