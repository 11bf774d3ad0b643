// What a registry's own protocol puts into queries. Anything else may be a signature.
const harmless = new Set(['ns', 'scope', 'service', 'digest', 'mount', 'from'])
const maxMessage = 512

/** A URL for logs and errors: values of its query that may be secret are left out. */
export function shownUrl(url: URL): string {
  const query = [...url.searchParams].map(([key, value]) => `${key}=${harmless.has(key) ? value : 'REDACTED'}`)
  const text = `${url.protocol}//${url.host}${url.pathname}${query.length === 0 ? '' : `?${query.join('&')}`}`
  return text.length <= 1024 ? text : `${text.slice(0, 1024)}...`
}

/** Text from a server: on one line, without control characters, of bounded length. */
export function shownText(text: string): string {
  const line = text
    .slice(0, 4 * maxMessage)
    .replace(/[\s\p{C}]+/gu, ' ')
    .trim()
  return line.length <= maxMessage ? line : `${line.slice(0, maxMessage)}...`
}
