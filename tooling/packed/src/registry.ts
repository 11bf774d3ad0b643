import { createReadStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import type { Packages } from './pack.js'

/** An npm registry on loopback. */
export interface PackageRegistry {
  /** A variable for the environment of npm that makes it find the packages here, and all others where it does anyway. */
  readonly env: NodeJS.ProcessEnv
  close(): Promise<void>
}

/** Serves packages under the scope @containerd-ts; `directory` takes npm's configuration file. */
export async function servePackages(packages: Packages, directory: string): Promise<PackageRegistry> {
  const tarballs = new Map([...packages.values()].map(({ tarball }) => [`/tarballs/${basename(tarball)}`, tarball]))
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '/')
    const tarball = tarballs.get(path)
    if (tarball !== undefined) {
      // Another run may have other contents under the same name.
      response.setHeader('cache-control', 'no-store')
      createReadStream(tarball).pipe(response)
      return
    }
    const found = packages.get(path.slice(1))
    if (found === undefined) {
      response.writeHead(404).end('{}')
      return
    }
    const { manifest, integrity } = found
    const dist = { integrity, tarball: `http://${request.headers.host}/tarballs/${basename(found.tarball)}` }
    const document = {
      name: manifest.name,
      'dist-tags': { latest: manifest.version },
      versions: { [manifest.version]: { ...manifest, dist } },
    }
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(JSON.stringify(document))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const config = join(directory, 'npmrc')
  const own = `@containerd-ts:registry=http://127.0.0.1:${port}/\naudit=false\nfund=false\nupdate-notifier=false\nprefer-offline=true\n`
  await writeFile(config, `${await userConfig()}\n${own}`)
  return {
    env: { NPM_CONFIG_USERCONFIG: config },
    close: () => new Promise((resolve, reject) => server.close((error) => (error ? reject(error) : resolve()))),
  }
}

/** What the user has configured for npm, a mirror of the registry for instance. */
async function userConfig(): Promise<string> {
  const path = process.env['NPM_CONFIG_USERCONFIG'] ?? join(homedir(), '.npmrc')
  return readFile(path, 'utf8').catch(() => '')
}
