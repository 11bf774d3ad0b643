import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttp, type IncomingMessage } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, connect, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mustExec } from '@containerd-ts/testkit'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createResolver } from '../src/index.js'
import { proxyFor } from '../src/proxy.js'
import { digestOf, giveManifest, never } from './server.js'

afterEach(() => vi.unstubAllEnvs())

async function listening(server: Server & { closeAllConnections(): void }): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const authorization = `Basic ${Buffer.from('me:p@w').toString('base64')}`
const manifest = '{}'

/** A resolver for a name that only the proxy knows. */
function resolver(proxyPort: number, defaultScheme: 'http' | 'https') {
  vi.stubEnv(`${defaultScheme.toUpperCase()}_PROXY`, `http://me:p%40w@127.0.0.1:${proxyPort}`)
  const made = createResolver({ defaultScheme })
  onTestFinished(() => made.close())
  return made
}

describe('a proxy', () => {
  it('is asked for http in place of the host', async () => {
    const seen: Pick<IncomingMessage, 'url' | 'headers'>[] = []
    const port = await listening(
      createHttp(({ url, headers }, response) => {
        seen.push({ url, headers })
        giveManifest(response, manifest)
      }),
    )
    const made = resolver(port, 'http')
    expect((await made.resolve('registry.test:5000/a:1', never)).descriptor.digest).toBe(digestOf(manifest))
    expect(seen).toMatchObject([
      {
        url: 'http://registry.test:5000/v2/a/manifests/1',
        headers: { host: 'registry.test:5000', 'proxy-authorization': authorization },
      },
    ])
  })

  it('makes tunnels for https, which TLS goes through', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'remotes-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const [key, cert] = [join(dir, 'key'), join(dir, 'cert')]
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=x',
    ]
    await mustExec('openssl', [...request, '-addext', 'subjectAltName=DNS:registry.test', '-keyout', key, '-out', cert])
    vi.stubEnv('NODE_EXTRA_CA_CERTS', cert)
    const registry = await listening(
      createHttps({ key: await readFile(key), cert: await readFile(cert) }, (_, response) => giveManifest(response, manifest)),
    )
    const tunnels: unknown[] = []
    const proxy = createHttp()
    proxy.on('connect', (asked: IncomingMessage, client) => {
      tunnels.push([asked.url, asked.headers['proxy-authorization']])
      if (asked.url !== 'registry.test:443') return void client.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      const server = connect(registry, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n')
        client.pipe(server).pipe(client)
      })
      server.on('error', () => client.destroy())
      client.on('error', () => server.destroy())
    })
    const made = resolver(await listening(proxy), 'https')
    for (let i = 0; i < 2; i++)
      expect((await made.resolve('registry.test/a:1', never)).descriptor.digest).toBe(digestOf(manifest))
    expect(tunnels).toEqual([['registry.test:443', authorization]])
    await expect(made.resolve('other.test:5000/a:1', never)).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringMatching(/the proxy 127.0.0.1:\d+ answered 403 Forbidden/),
    })
    expect(tunnels.at(-1)).toEqual(['other.test:5000', authorization])
  })

  it('is not asked for what is excepted', () => {
    const environment = { http_proxy: 'proxy:3128', NO_PROXY: 'a.test, .b.test,*.c.test,10.0.0.0/8,fd00::/8,1.2.3.4:81,::2' }
    const proxied = (host: string) => proxyFor(new URL(`http://${host}/`), environment) !== undefined
    for (const host of [
      'localhost:5000',
      '127.1.2.3',
      '[::1]',
      'a.test',
      'x.a.test',
      'x.b.test',
      'x.c.test',
      '10.9.8.7',
      '[fd00::1]',
      '1.2.3.4:81',
      '[::2]',
    ]) {
      expect([host, proxied(host)]).toEqual([host, false])
    }
    for (const host of ['b.test', 'xa.test', '11.0.0.1', '[fe00::1]', '1.2.3.4', 'example.com'])
      expect([host, proxied(host)]).toEqual([host, true])
    expect(proxyFor(new URL('https://example.com'), environment)).toBeUndefined()
    expect(proxyFor(new URL('http://example.com'), { HTTP_PROXY: 'x', NO_PROXY: '*' })).toBeUndefined()
    expect(() => proxyFor(new URL('http://example.com'), { HTTP_PROXY: 'socks5://me:secret@x' })).toThrow(
      /^HTTP_PROXY is no URL of an http proxy/,
    )
  })
})
