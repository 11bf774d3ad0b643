import { invalidHeader } from './tar-error.js'
import type { DataSpan } from './tar-header.js'
import { blockSize } from './tar-header.js'
import { readDecimal, readNumber } from './tar-numbers.js'

const maxSpans = 1 << 20

/** Reads `count` pairs of 12-byte fields of an old GNU header; an empty field ends them. */
export function readSpanFields(block: Buffer, offset: number, count: number, spans: DataSpan[]): void {
  for (let i = 0; i < count; i++) {
    const at = offset + i * 24
    if (block[at] === 0) return
    spans.push({ offset: readNumber(block.subarray(at, at + 12)), length: readNumber(block.subarray(at + 12, at + 24)) })
    if (spans.length > maxSpans) throw invalidHeader('too many stretches of a sparse file')
  }
}

/** The map of format 0.0 and 0.1: decimal numbers, comma separated. @throws TarError */
export function parseSpanList(text: string): DataSpan[] {
  const numbers = text === '' ? [] : text.split(',').map(readDecimal)
  if (numbers.length % 2 !== 0 || numbers.length > 2 * maxSpans) throw invalidHeader('malformed sparse map')
  return pairs(numbers)
}

/**
 * The map of format 1.0, which precedes the data: decimal numbers, a line each, the number of stretches first, filled up to whole
 * blocks. Yields how many bytes it wants.
 */
export function* readSpanLines(available: number): Generator<number, { spans: DataSpan[]; consumed: number }, Buffer> {
  const numbers: number[] = []
  let rest = ''
  let consumed = 0
  while (numbers.length === 0 || numbers.length < 1 + 2 * (numbers[0] ?? 0)) {
    if (consumed + blockSize > available || rest.length > blockSize) throw invalidHeader('malformed sparse map')
    const lines = (rest + (yield blockSize).toString('latin1')).split('\n')
    consumed += blockSize
    rest = lines.pop() ?? ''
    for (const line of lines) {
      // What follows the last number fills the block.
      if (numbers.length > 0 && numbers.length === 1 + 2 * (numbers[0] ?? 0)) break
      numbers.push(readDecimal(line))
      if ((numbers[0] ?? 0) < 0 || (numbers[0] ?? 0) > maxSpans) throw invalidHeader('too many stretches of a sparse file')
    }
  }
  return { spans: pairs(numbers.slice(1)), consumed }
}

function pairs(numbers: readonly number[]): DataSpan[] {
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i] ?? 0,
    length: numbers[2 * i + 1] ?? 0,
  }))
}

/** Stretches must follow one another within the file and add up to what is stored. @throws TarError */
export function checkSpans(spans: readonly DataSpan[], size: number, storedSize: number): void {
  let end = 0
  let total = 0
  for (const { offset, length } of spans) {
    if (offset < end || length < 0 || offset + length > size) throw invalidHeader('malformed sparse map')
    end = offset + length
    total += length
  }
  if (total !== storedSize) throw invalidHeader('sparse map does not fit the data')
}
