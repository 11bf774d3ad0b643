import { validateHeaderName, validateHeaderValue } from 'node:http'

// These say how a message is framed and to whom it goes, which is for the connection to say.
const ofTheConnection = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'trailer',
  'te',
  'upgrade',
  'expect',
])

/** Headers of a user by lower-case name, without those of the connection. @throws TypeError for what HTTP does not allow. */
export function usableHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const usable: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    if (!ofTheConnection.has(name.toLowerCase())) usable[name.toLowerCase()] = value
  }
  return usable
}
