import { crc32 } from 'node:zlib'
import { InternalError } from '@containerd-ts/interface'

const sealBytes = 4

/** The checksum of a record: its value under its key. */
export function checksum(key: Uint8Array, payload: Uint8Array): number {
  return crc32(payload, crc32(key))
}

/** A value as it is stored: the payload, then the checksum of key and payload, four bytes, little-endian. */
export function seal(payload: Uint8Array, check: number): Buffer {
  const value = Buffer.allocUnsafe(payload.byteLength + sealBytes)
  value.set(payload)
  value.writeUInt32LE(check, payload.byteLength)
  return value
}

/** The payload of a stored value with its checksum. @throws InternalError when the value is not what was stored. */
export function unseal(key: Uint8Array, value: Uint8Array): { payload: Uint8Array; check: number } {
  const payload = value.subarray(0, value.byteLength - sealBytes)
  const check = checksum(key, payload)
  const seal = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (seal.byteLength < sealBytes || seal.readUInt32LE(payload.byteLength) !== check)
    throw new InternalError('its checksum does not match')
  return { payload, check }
}
