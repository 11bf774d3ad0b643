import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { eventually, mustExec, stopProcess } from './process.js'

export interface Registry {
  /** host:port on loopback. */
  host: string
  /** Pushes an OCI layout directory under a name such as `library/busybox:latest`. */
  push(layout: string, name: string): Promise<void>
  stop(): Promise<void>
}

/** Starts Debian's docker-registry on a free loopback port, with its data under `dir`. `passwords`: lines of an htpasswd file. */
export async function startRegistry(dir: string, { passwords }: { passwords?: string } = {}): Promise<Registry> {
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  await mkdir(dir, { recursive: true })
  const config = join(dir, 'config.yml')
  if (passwords !== undefined) await writeFile(join(dir, 'htpasswd'), passwords)
  const auth = passwords === undefined ? '' : `auth: {htpasswd: {realm: test, path: ${dir}/htpasswd}}\n`
  await writeFile(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${dir}/data}}\nhttp: {addr: '${host}'}\n${auth}`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  await eventually('the registry answers', () =>
    fetch(`http://${host}/v2/`).then(
      ({ status }) => (status === (passwords === undefined ? 200 : 401) ? true : undefined),
      () => undefined,
    ),
  )
  return {
    host,
    async push(layout, name) {
      await mustExec('skopeo', [
        '--insecure-policy',
        'copy',
        '--quiet',
        '--dest-tls-verify=false',
        `oci:${layout}`,
        `docker://${host}/${name}`,
      ])
    },
    async stop() {
      await stopProcess(child)
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}
