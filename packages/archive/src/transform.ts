import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/**
 * The bytes after a transformation, at the pace of whoever takes them. `stop` is called at the end, however it comes, and must let a source
 * that is waited for return; it is closed by then. Without it a source that is silent is left to itself.
 *
 * @throws what the source and the transformation throw.
 */
export async function* transformed(
  bytes: AsyncIterable<Uint8Array>,
  transform: Transform,
  stop?: () => unknown,
): AsyncGenerator<Uint8Array> {
  const feeding = pipeline(Readable.from(bytes, { objectMode: false, highWaterMark: 1 << 20 }), transform)
  // Its failure shows on the transform too.
  feeding.catch(() => {})
  try {
    for await (const chunk of transform as AsyncIterable<Uint8Array>) yield chunk
    await feeding
  } finally {
    if (stop !== undefined) {
      stop()
      transform.destroy()
      await feeding.catch(() => {})
    }
  }
}
