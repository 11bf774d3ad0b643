/** One way to be authorized that a server offers. */
export interface Challenge {
  scheme: 'bearer' | 'basic'
  /** By lower-case name: `realm`, `service`, `scope`, `error`. */
  parameters: Readonly<Record<string, string>>
}

const start = /^\s*([A-Za-z]+)(?:\s+|$)/
const parameter = /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))\s*(?:,|$)/y
const maxLength = 16 * 1024

/** The challenges of WWW-Authenticate headers, one in each; bearer first. Other schemes and what is malformed are passed over. */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  const challenges: Challenge[] = []
  for (const header of headers) {
    const text = header.slice(0, maxLength)
    const [head = '', name = ''] = start.exec(text) ?? []
    const scheme = name.toLowerCase()
    if (scheme === 'bearer' || scheme === 'basic') challenges.push({ scheme, parameters: parametersOf(text, head.length) })
  }
  return challenges.sort((a, b) => Number(b.scheme === 'bearer') - Number(a.scheme === 'bearer'))
}

function parametersOf(text: string, from: number): Record<string, string> {
  const found = new Map<string, string>()
  parameter.lastIndex = from
  for (let match = parameter.exec(text); match !== null; match = parameter.exec(text)) {
    const [, name = '', quoted, token = ''] = match
    found.set(name.toLowerCase(), quoted === undefined ? token : quoted.replace(/\\(.)/g, '$1'))
  }
  return Object.fromEntries(found)
}
