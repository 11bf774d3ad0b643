import type { StreamedEntry } from '@containerd-ts/archive'

const zeros = Buffer.alloc(256 * 1024)

/** All bytes of a file in an archive, also of those that are stored without their holes. */
export async function* wholeFile({ header, data }: StreamedEntry): AsyncGenerator<Uint8Array> {
  const { spans, size } = header
  if (spans === undefined) {
    yield* data
    return
  }
  const rest = spans.values()
  let span = rest.next().value
  let taken = 0
  let end = 0
  for await (const chunk of data) {
    for (let bytes = chunk; bytes.length > 0; ) {
      while (span !== undefined && taken === span.length) {
        span = rest.next().value
        taken = 0
      }
      if (span === undefined) break
      yield* hole(span.offset + taken - end)
      const part = bytes.subarray(0, span.length - taken)
      bytes = bytes.subarray(part.length)
      taken += part.length
      end = span.offset + taken
      yield part
    }
  }
  yield* hole(size - end)
}

function* hole(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= zeros.length) yield zeros.subarray(0, left)
}
