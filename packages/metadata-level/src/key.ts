/**
 * Keys are tuples of texts, joined so that sorting keys bytewise sorts the tuples: parts are UTF-8, a zero byte ends each of them, and
 * in a part the bytes 0 and 1 are written as 1 1 and 1 2. In memory a key is a string of one character per byte, since the engine
 * compares such strings bytewise.
 */
export function composeKey(...parts: readonly string[]): string {
  let key = ''
  for (const part of parts) key += `${encodePart(part)}\0`
  return key
}

/** The parts of a key. */
export function splitKey(key: string): string[] {
  return key.slice(0, -1).split('\0').map(decodePart)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: bytes of the key format.
const plain = /^[\x02-\x7f]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: bytes of the key format.
const reserved = /[\0\x01]/g

function encodePart(part: string): string {
  if (plain.test(part)) return part
  return Buffer.from(part, 'utf8')
    .toString('latin1')
    .replace(reserved, (byte) => (byte === '\0' ? '\x01\x01' : '\x01\x02'))
}

function decodePart(part: string): string {
  if (plain.test(part)) return part
  // biome-ignore lint/suspicious/noControlCharactersInRegex: bytes of the key format.
  const bytes = part.replace(/\x01([\x01\x02])/g, (_, escaped: string) => (escaped === '\x01' ? '\0' : '\x01'))
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** The bytes of a key on disk. */
export function keyBytes(key: string): Buffer {
  return Buffer.from(key, 'latin1')
}

export function keyOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
