import type { FileTime } from '@containerd-ts/linux'
import { invalidHeader } from './tar-error.js'

const SPACE = 0x20

/** A string field up to its first NUL. */
export function readString(field: Buffer): Buffer {
  const end = field.indexOf(0)
  return end < 0 ? field : field.subarray(0, end)
}

/** A number in octal digits, or in GNU's base 256 when the first bit is set. @throws TarError */
export function readNumber(field: Buffer): number {
  const first = field[0] ?? 0
  return (first & 0x80) === 0 ? readOctal(field) : readBase256(field)
}

function readOctal(field: Buffer): number {
  let start = 0
  let end = field.length
  while (start < end && isBlank(field[start])) start++
  while (end > start && isBlank(field[end - 1])) end--
  let value = 0
  for (let i = start; i < end; i++) {
    const byte = field[i] ?? 0
    if (byte === 0) break
    if (byte < 0x30 || byte > 0x37) throw invalidHeader('number is not octal')
    value = value * 8 + byte - 0x30
  }
  return value
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === 0
}

function readBase256(field: Buffer): number {
  let value = 0n
  for (const byte of field) value = (value << 8n) | BigInt(byte)
  // The first bit only marks the encoding; the rest is two's complement.
  const bits = BigInt(field.length) * 8n - 1n
  const number = Number(BigInt.asIntN(Number(bits), value))
  if (!Number.isSafeInteger(number)) throw invalidHeader('number is out of range')
  return number
}

/** A decimal integer of an extended record. @throws TarError */
export function readDecimal(text: string): number {
  const number = Number(text)
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(number)) throw invalidHeader(`"${text}" is no integer`)
  return number
}

/** A time of an extended record: decimal seconds with any number of fractional digits. @throws TarError */
export function readTime(text: string): FileTime {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text)
  if (match === null) throw invalidHeader(`"${text}" is no time`)
  const [, sign, whole = '0', fraction = ''] = match
  const seconds = readDecimal(whole)
  const nanos = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign !== '-') return { seconds, nanos }
  return nanos === 0 ? { seconds: -seconds, nanos: 0 } : { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos }
}
