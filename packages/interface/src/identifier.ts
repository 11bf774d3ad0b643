import { InvalidArgumentError } from './errors.js'

const pattern = /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/
const maxLength = 76
const maxLabelSize = 4096

/**
 * Namespaces, container ids, exec ids and the components of event topics are identifiers: letters and digits, single `.`, `_` or `-`
 * between them, at most 76 bytes. They become path components, so this is also what keeps `../` out.
 *
 * @throws InvalidArgumentError; `context` goes before the text.
 */
export function validateIdentifier(id: string, context?: string): void {
  const prefix = context === undefined ? '' : `${context}: `
  if (id === '') throw new InvalidArgumentError(`${prefix}identifier must not be empty`)
  if (Buffer.byteLength(id) > maxLength) {
    throw new InvalidArgumentError(`${prefix}identifier ${quote(id)} greater than maximum length (${maxLength} characters)`)
  }
  if (!pattern.test(id)) throw new InvalidArgumentError(`${prefix}identifier ${quote(id)} must match ${pattern.source}`)
}

/**
 * A label's key and value together have at most 4096 bytes.
 *
 * @throws InvalidArgumentError; `context` names the field, for instance `image.Labels`.
 */
export function validateLabels(labels: Readonly<Record<string, string>>, context: string): void {
  for (const [key, value] of Object.entries(labels)) {
    const size = Buffer.byteLength(key) + Buffer.byteLength(value)
    if (size <= maxLabelSize) continue
    const head = Buffer.from(key).subarray(0, 64).toString()
    throw new InvalidArgumentError(
      `${context}: label key and value length (${size} bytes) greater than maximum size (${maxLabelSize} bytes), key: ${head}`,
    )
  }
}

/** A name in double quotes with control characters escaped, as it stands in error messages. */
export function quote(name: string): string {
  return JSON.stringify(name)
}
