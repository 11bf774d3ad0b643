// Tags of ReadContentResponse: offset is field 1, a varint; data is field 2, bytes.
const offsetTag = 0x08
const dataTag = 0x12

/** As much as stands before the data of a ReadContentResponse at the most: two tags and two varints. */
export const maxHeaderBytes = 1 + 8 + 1 + 4

/**
 * Writes what stands before the data of a ReadContentResponse into the bytes before `maxHeaderBytes`; gives back how many those are. The
 * data comes behind them.
 */
export function encodePieceHeader(buffer: Buffer, offset: number, dataBytes: number): number {
  const header: number[] = []
  if (offset > 0) header.push(offsetTag, ...varint(offset))
  header.push(dataTag, ...varint(dataBytes))
  buffer.set(header, maxHeaderBytes - header.length)
  return header.length
}

function varint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  bytes.push(rest)
  return bytes
}
