import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createGrpcClient } from '@containerd-ts/api'
import { contentStore } from '@containerd-ts/content-local'
import { eventExchange } from '@containerd-ts/events-exchange'
import { background } from '@containerd-ts/interface'
import { metadataStore } from '@containerd-ts/metadata-level'
import { PluginType } from '@containerd-ts/plugin'
import { type Daemon, grpcListener, serve } from '@containerd-ts/server'
import { Client, credentials } from '@grpc/grpc-js'
import { plugin, UsageDefinition } from '../src/index.js'

let directory: string
let daemon: Daemon

// A daemon of just what the plugin needs.
before(async () => {
  directory = await mkdtemp(join(tmpdir(), '__name__-'))
  daemon = await serve(
    {
      root: join(directory, 'root'),
      state: join(directory, 'state'),
      address: join(directory, 'c.sock'),
      logLevel: 'warn',
      plugins: { 'io.containerd.grpc.v1.__name__': { unit: 'octets' } },
    },
    { registrations: [contentStore, eventExchange, metadataStore, grpcListener, plugin] },
  )
})
after(async () => {
  await daemon?.close()
  await rm(directory, { recursive: true })
})

test('the blobs of a namespace are counted', async () => {
  const ctx = background('example')
  const { content, namespaces } = daemon.plugins.get(PluginType.Metadata)
  await namespaces.create(ctx, { name: 'example', labels: {} })
  for (const text of ['one', 'three']) {
    const writer = await content.writer(ctx, { ref: text })
    await writer.write(Buffer.from(text))
    await writer.commit(ctx, { labels: { 'containerd.io/gc.root': 'test' } })
  }
  const connection = new Client(`unix:${join(directory, 'c.sock')}`, credentials.createInsecure())
  try {
    const usage = createGrpcClient(UsageDefinition, connection, { 'containerd-namespace': 'example' })
    const { size, annotations } = await usage.total({ filters: [] })
    assert.equal(size, 8)
    assert.deepEqual(annotations, { unit: 'octets' })
  } finally {
    connection.close()
  }
})
