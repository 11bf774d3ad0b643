import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Containerd, connect } from '@containerd-ts/client'
import { type Daemon, serve } from '@containerd-ts/server'
import '../src/plugins.js'

let directory: string
let daemon: Daemon
let client: Containerd

before(async () => {
  directory = await mkdtemp(join(tmpdir(), '__name__-'))
  const address = join(directory, 'containerd.sock')
  daemon = await serve({ root: join(directory, 'root'), state: join(directory, 'state'), address, logLevel: 'warn' })
  client = connect(address)
})
after(async () => {
  client?.close()
  await daemon?.close()
  await rm(directory, { recursive: true })
})

test('every plugin works here, or says why it cannot', async () => {
  const { plugins } = await client.introspection.plugins({ filters: [] })
  const failed = plugins.filter(({ initErr }) => initErr !== undefined && !initErr.message.includes('skip plugin'))
  assert.deepEqual(failed, [])
  assert.ok(plugins.length > 2)
})

test('it answers', async () => {
  const { version } = await client.version.version({})
  assert.match(version, /^v\d/)
})
