import type { ContentInfo, ContentReader, Context } from '@containerd-ts/interface'
import { answers } from './connection.js'
import type { ContentClient } from './content-store.js'

/**
 * Reads a remote blob. Reading on from where the last read ended goes on with the same call, whose pieces come at the reader's pace;
 * any other place starts a new one. The first call is under way when this returns, so that the blob may be deleted meanwhile.
 */
export async function openReader(
  service: ContentClient,
  ctx: Context,
  { digest, sizeBytes }: ContentInfo,
): Promise<ContentReader> {
  let pieces: AsyncIterator<{ data: Uint8Array }> | undefined
  let rest: Uint8Array = new Uint8Array()
  let position = 0

  /** The next piece into `rest`; false at the end. */
  async function fetch(): Promise<boolean> {
    pieces ??= answers(ctx, (options) => service.read({ digest, offset: position, size: 0 }, options))[Symbol.asyncIterator]()
    const { value, done } = await pieces.next()
    if (done === true) return false
    rest = value.data
    return true
  }

  async function close(): Promise<void> {
    const ending = pieces
    pieces = undefined
    rest = new Uint8Array()
    await ending?.return?.().then(
      () => {},
      () => {},
    )
  }

  if (sizeBytes > 0) await fetch()
  return {
    sizeBytes,
    async read(target, offset) {
      if (offset >= sizeBytes || target.length === 0) return 0
      if (offset !== position) {
        await close()
        position = offset
      }
      let filled = 0
      while (filled < target.length) {
        if (rest.length === 0 && !(await fetch())) break
        const taken = rest.subarray(0, target.length - filled)
        target.set(taken, filled)
        filled += taken.length
        position += taken.length
        rest = rest.subarray(taken.length)
      }
      return filled
    },
    close,
  }
}
