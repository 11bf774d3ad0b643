// Runs on the built package: commits blobs, containers, labels and deletions, and says what was acknowledged.
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { createContentStore } from '@containerd-ts/content-local/store'
import { createExchange } from '@containerd-ts/events-exchange/exchange'
import { background } from '@containerd-ts/interface'
import { createMetadataStore } from '../dist/store.js'

const root = process.argv[2] ?? ''
const content = await createContentStore({ root: join(root, 'content') })
const metadata = await createMetadataStore({
  path: join(root, 'meta'),
  content,
  snapshotters: new Map(),
  events: createExchange(),
})
const ctx = background('n')
const say = (...words) => writeSync(1, `${words.join(' ')}\n`)

const partial = await metadata.content.writer(ctx, { ref: 'partial', total: 100_000 })
await partial.write(Buffer.alloc(12_345, 'p'))
say('partial', 12_345)

await Promise.all(
  Array.from({ length: 8 }, async (_, writer) => {
    for (let n = 0; ; n++) {
      const name = `${writer}-${n}`
      const blob = await metadata.content.writer(ctx, { ref: name })
      await blob.write(Buffer.from(`${root} ${name}`))
      const { digest } = await blob.commit(ctx, { labels: { name } })
      say('blob', digest, name)
      const container = {
        id: name,
        labels: {},
        image: '',
        runtime: { name: 'r' },
        snapshotter: '',
        snapshotKey: '',
        extensions: {},
        sandbox: '',
      }
      await metadata.containers.create(ctx, container)
      say('made', name)
      if (n % 3 === 0) {
        await metadata.containers.delete(ctx, name)
        say('deleted', name)
      }
    }
  }),
)
