import { WriteAction } from '@containerd-ts/api/containerd/services/content/v1/content'
import { status } from '@grpc/grpc-js'
import { type Containerd, hasStatus } from './connection.js'

/** What a manifest points to. */
export interface Descriptor {
  mediaType: string
  digest: string
  size: number
  annotations?: Record<string, string>
  platform?: { os: string; architecture: string; variant?: string }
}

/** What is known of a blob before it is written. */
export interface WriteOptions {
  ref: string
  size: number
  digest: string
  labels?: Record<string, string>
}

const messageBytes = 1024 * 1024

/** Stores a blob; one that exists already is left alone. The bytes may come in pieces of any size. */
export async function writeBlob(
  containerd: Containerd,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: WriteOptions,
): Promise<void> {
  const { ref, size, digest, labels = {} } = options
  async function* requests() {
    let offset = 0
    for await (const chunk of bytes) {
      for (let at = 0; at < chunk.length; at += messageBytes) {
        const data = chunk.subarray(at, at + messageBytes)
        yield { action: WriteAction.WRITE, ref, total: size, expected: digest, offset, data }
        offset += data.length
      }
    }
    yield { action: WriteAction.COMMIT, ref, total: size, expected: digest, offset, labels }
  }
  try {
    for await (const _ of containerd.content.write(requests())) {
      // Each message is answered; a failure ends the stream with an error.
    }
  } catch (error) {
    if (!hasStatus(error, status.ALREADY_EXISTS)) throw error
  }
}

/** The whole of a small blob, for instance a manifest. */
export async function readBlob(containerd: Containerd, digest: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const { data } of containerd.content.read({ digest })) chunks.push(data)
  return Buffer.concat(chunks)
}

/** Adds labels to a blob, leaving its others alone. */
export async function labelBlob(containerd: Containerd, digest: string, labels: Record<string, string>): Promise<void> {
  const paths = Object.keys(labels).map((key) => `labels.${key}`)
  if (paths.length > 0) await containerd.content.update({ info: { digest, labels }, updateMask: paths })
}
