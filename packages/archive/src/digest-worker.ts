import { createHash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { createRingReader } from './byte-ring.js'
import { type DigestJob, type Report, type StreamDigest, toSentError } from './jobs.js'
import { comeAfterClients } from './thread-priority.js'

// A thread that only hashes, so that it need not be done by the one that unpacks.

comeAfterClients()
const port = parentPort
if (port === null) throw new TypeError('this module is for a worker thread')
const report = (message: Report) => port.postMessage(message)

port.on('message', (job: DigestJob) => {
  try {
    report({ type: 'digested', result: digest(job) })
  } catch (error) {
    report({ type: 'failed', error: toSentError(error), unusable: false })
  }
})

function digest({ ring }: DigestJob): StreamDigest {
  const reader = createRingReader(ring, 1, () => report({ type: 'drain' }))
  const hash = createHash('sha256')
  let sizeBytes = 0
  for (;;) {
    const bytes = reader.read(1 << 20)
    if (bytes.length === 0) break
    hash.update(bytes)
    sizeBytes += bytes.length
  }
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes }
}
