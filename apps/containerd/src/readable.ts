/** A record with the bytes in it as people read them: JSON where it is JSON, base64 otherwise. */
export function readable(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    try {
      const json: unknown = JSON.parse(bytes.toString())
      return json
    } catch {
      return bytes.toString('base64')
    }
  }
  if (Array.isArray(value)) return value.map(readable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, readable(field)]))
}
