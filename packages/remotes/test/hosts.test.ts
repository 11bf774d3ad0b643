import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { mustExec } from '@containerd-ts/testkit'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createResolver, hostConfigurations } from '../src/index.js'
import { digestOf, errorOf, giveManifest, never, serve } from './server.js'

let dir: string
const pem: Record<string, string> = {}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'remotes-'))
  await mustExec('openssl', [...newKey('ca'), '-x509', '-subj', '/CN=test ca', '-days', '1'])
  for (const [name, subject] of [
    ['server', 'IP:127.0.0.1'],
    ['client', 'DNS:client'],
  ] as const) {
    const signing = ['-CA', join(dir, 'ca.crt'), '-CAkey', join(dir, 'ca.key')]
    await mustExec('openssl', [
      ...newKey(name),
      '-x509',
      '-subj',
      `/CN=${name}`,
      '-days',
      '1',
      '-addext',
      `subjectAltName=${subject}`,
      ...signing,
    ])
  }
  const { readFile } = await import('node:fs/promises')
  for (const name of ['ca.crt', 'server.crt', 'server.key', 'client.crt', 'client.key'])
    pem[name] = await readFile(join(dir, name), 'utf8')
})
afterAll(() => rm(dir, { recursive: true }))

function newKey(name: string): string[] {
  const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)]
  return ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...files]
}

async function hostDir(files: Readonly<Record<string, string>>): Promise<string> {
  const made = await mkdtemp(join(dir, 'hosts-'))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(made, path, '..'), { recursive: true })
    await writeFile(join(made, path), text)
  }
  return made
}

describe('hostConfigurations', () => {
  const all = new Set(['pull', 'resolve', 'push'])

  it('knows hosts without configuration', async () => {
    const plain = { path: '/v2', capabilities: all, headers: {} }
    expect(await hostConfigurations('docker.io')).toEqual([{ scheme: 'https', host: 'registry-1.docker.io', ...plain }])
    expect(await hostConfigurations('example.com:5000')).toEqual([{ scheme: 'https', host: 'example.com:5000', ...plain }])
    expect(await hostConfigurations('example.com', { defaultScheme: 'http' })).toEqual([
      { scheme: 'http', host: 'example.com', ...plain },
    ])
    const tls = { skipVerify: true }
    expect(await hostConfigurations('localhost')).toEqual([{ scheme: 'https', host: 'localhost', ...plain, tls }])
    expect(await hostConfigurations('127.0.0.1:80')).toEqual([{ scheme: 'http', host: '127.0.0.1:80', ...plain }])
    expect(await hostConfigurations('[::1]:5000')).toEqual([
      { scheme: 'http', host: '[::1]:5000', ...plain, tls, tlsFirst: true },
    ])
    expect(await hostConfigurations('127.0.0.1:5000', { defaultScheme: 'http' })).toEqual([
      { scheme: 'http', host: '127.0.0.1:5000', ...plain },
    ])
  })

  it('reads hosts.toml', async () => {
    const path = await hostDir({
      'docker.io/hosts.toml': `
        dial_timeout = "1m2.5s"
        [host."https://second.example"]
          capabilities = ["Pull", "referrers"]
          ca = ["ca.pem", "other.pem"]
          skip_verify = false
        [host."first.example:5000/path/"]
          client = [["cert.pem", "key.pem"], "both.pem"]
        [host."https://third.example/v2/"]
        [host."https://fourth.example/api"]
          override_path = true
          unknown = 1
          [host."https://fourth.example/api".header]
            X-A = "b"
            Host = "elsewhere"
      `,
      ...Object.fromEntries(['ca', 'other', 'cert', 'key', 'both'].map((name) => [`docker.io/${name}.pem`, name])),
    })
    const hosts = await hostConfigurations('docker.io', { hostDir: path })
    const https = { scheme: 'https', path: '/v2', capabilities: all, headers: {} }
    expect(hosts).toEqual([
      { ...https, host: 'second.example', capabilities: new Set(['pull']), tls: { ca: ['ca', 'other'], skipVerify: false } },
      { ...https, host: 'first.example:5000', path: '/path/v2', tls: { cert: ['cert', 'both'], key: ['key', 'both'] } },
      { ...https, host: 'third.example' },
      { ...https, host: 'fourth.example', path: '/api', headers: { 'x-a': 'b' } },
      { ...https, host: 'registry-1.docker.io', dialTimeoutMs: 62_500 },
    ])
  })

  it('finds directories of ports, the default one and plain certificates', async () => {
    const path = await hostDir({
      'a:5000/hosts.toml': 'server = "https://wrong"',
      'a_5000_/hosts.toml': 'server = "http://right"',
      'b/one.crt': 'one',
      'b/client.cert': 'cert',
      'b/client.key': 'key',
      'b/both.cert': 'both',
      'b/hosts.toml': '',
      '_default/hosts.toml': 'server = "default"',
    })
    const configured = async (host: string) => (await hostConfigurations(host, { hostDir: path }))[0]
    expect(await configured('a:5000')).toMatchObject({ scheme: 'http', host: 'right' })
    expect(await configured('b')).toMatchObject({ host: 'b', tls: { ca: ['one'], cert: ['both', 'cert'], key: ['both', 'key'] } })
    expect(await configured('c')).toMatchObject({ scheme: 'https', host: 'default' })
    expect(await hostConfigurations('c', { hostDir: join(path, 'none') })).toMatchObject([{ host: 'c' }])
  })

  it.each([
    'server = "https://user:pw@host"',
    'server = "https://host/?a=b"',
    'server = "httpx://host"',
    'host = 1',
    'host = { a = 1 }',
    'ca = 1',
    'ca = "none.pem"',
    'client = [["a", "b", "c"]]',
    'skip_verify = "yes"',
    'dial_timeout = "soon"',
    'dial_timeout = "-1s"',
    'header = { "a b" = "c" }',
    'header = { a = "b\\r\\nc: d" }',
    'header = { a = 1 }',
    'server = ',
  ])('refuses %s', async (text) => {
    const path = await hostDir({ 'a/hosts.toml': text })
    await expect(hostConfigurations('a', { hostDir: path })).rejects.toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringContaining(join(path, 'a/hosts.toml')),
    })
  })
})

describe('TLS', () => {
  const manifest = '{}'

  async function secure(options: ServerOptions = {}): Promise<{ host: string; shown: unknown[] }> {
    const shown: unknown[] = []
    const server: Server = createServer({ key: pem['server.key'], cert: pem['server.crt'], ...options }, (request, response) => {
      shown.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN)
      giveManifest(response, manifest)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, shown }
  }

  async function resolveBy(hosts: string, extra: Readonly<Record<string, string | undefined>> = {}): Promise<string> {
    const files = Object.entries(extra).flatMap(([name, text]) =>
      text === undefined ? [] : [[`registry.example/${name}`, text]],
    )
    const resolver = createResolver({
      hostDir: await hostDir({ 'registry.example/hosts.toml': hosts, ...Object.fromEntries(files) }),
    })
    onTestFinished(() => resolver.close())
    return (await resolver.resolve('registry.example/a:1', never)).descriptor.digest
  }

  it('trusts what it is told to, and nothing else', async () => {
    const { host } = await secure()
    const error = await errorOf(resolveBy(`server = "https://${host}"`))
    expect(error).toMatchObject({ code: 'Unavailable', message: expect.stringContaining('certificate') })
    const ca = { 'ca.crt': pem['ca.crt'] }
    expect(await resolveBy(`server = "https://${host}"\nca = "ca.crt"`, ca)).toBe(digestOf(manifest))
    expect(await resolveBy(`server = "https://${host}"\nskip_verify = true`)).toBe(digestOf(manifest))
    await expect(resolveBy(`server = "https://${host}"\nca = "ca.crt"`, { 'ca.crt': 'nonsense' })).rejects.toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringContaining(`certificates for ${host}`),
    })
  })

  it("shows the client's certificate to the registry", async () => {
    const { host, shown } = await secure({ ca: pem['ca.crt'], requestCert: true, rejectUnauthorized: true })
    const files = { 'ca.crt': pem['ca.crt'], 'client.crt': pem['client.crt'], 'client.key': pem['client.key'] }
    expect(await resolveBy(`server = "https://${host}"\nca = "ca.crt"\nclient = [["client.crt", "client.key"]]`, files)).toBe(
      digestOf(manifest),
    )
    expect(shown).toEqual(['client'])
  })

  it('tries https and then http on loopback', async () => {
    const plain = await serve((_, response) => giveManifest(response, manifest))
    const { host } = await secure()
    const resolver = createResolver()
    onTestFinished(() => resolver.close())
    for (const name of [plain.host, plain.host, host]) {
      expect((await resolver.resolve(`${name}/a:1`, never)).descriptor.digest).toBe(digestOf(manifest))
    }
    expect(plain.lines()).toEqual(['HEAD /v2/a/manifests/1', 'HEAD /v2/a/manifests/1'])
  })

  it('does not send credentials to a token server without TLS', async () => {
    const tokens = await serve((_, response) => void response.end('{"token":"x"}'))
    const server = createServer({ key: pem['server.key'], cert: pem['server.crt'] }, (_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${tokens.host}/"` }).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const resolver = createResolver({ credentials: async () => ({ type: 'credentials', username: 'me', secret: 'pw' }) })
    onTestFinished(() => resolver.close())
    const error = await errorOf(resolver.resolve(`127.0.0.1:${(server.address() as AddressInfo).port}/a:1`, never))
    expect(error).toMatchObject({
      code: 'FailedPrecondition',
      message: expect.stringContaining('http realm for an https registry'),
    })
    expect(tokens.seen).toEqual([])
  })

  it('does not follow a name from https to http', async () => {
    const plain = await serve((_, response) => giveManifest(response, manifest))
    const server = createServer({ key: pem['server.key'], cert: pem['server.crt'] }, (_, response) => {
      response.writeHead(307, { location: `http://${plain.host}/` }).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const resolver = createResolver()
    onTestFinished(() => resolver.close())
    const name = `127.0.0.1:${(server.address() as AddressInfo).port}/a`
    await expect(resolver.resolve(`${name}:1`, never)).rejects.toMatchObject({ code: 'FailedPrecondition' })
    expect(plain.seen).toEqual([])
    expect((await resolver.resolve(`${name}@${digestOf(manifest)}`, never)).descriptor.sizeBytes).toBe(2)
  })
})
