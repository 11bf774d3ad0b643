import { UnknownError } from '@containerd-ts/interface'

/** Where a stream goes, as a client names it. */
export type StdioTarget =
  | { kind: 'null' }
  | { kind: 'fifo'; path: string }
  | { kind: 'file'; path: string }
  | { kind: 'binary'; path: string; args: string[]; readyRequired: boolean }

/** Parses a stdio URI. @throws UnknownError for a scheme that is not known. */
export function parseStdio(uri: string): StdioTarget {
  if (uri === '') return { kind: 'null' }
  const match = /^([a-z0-9+.-]+):\/\/(.*)$/s.exec(uri)
  if (match === null) return { kind: 'fifo', path: uri }
  const [, scheme = '', rest = ''] = match
  switch (scheme) {
    case 'fifo':
      return { kind: 'fifo', path: pathOf(rest) }
    case 'file':
      return { kind: 'file', path: pathOf(rest) }
    case 'binary':
    case 'binary-v2':
      return { kind: 'binary', path: pathOf(rest), args: argumentsOf(rest), readyRequired: scheme === 'binary-v2' }
    default:
      throw new UnknownError(`unknown STDIO scheme ${scheme}`)
  }
}

function pathOf(rest: string): string {
  const path = rest.split(/[?#]/, 1)[0] ?? ''
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

// Each key once, followed by its first value.
function argumentsOf(rest: string): string[] {
  const query = /^[^?#]*\?([^#]*)/s.exec(rest)?.[1] ?? ''
  const first = new Map<string, string>()
  for (const [key, value] of new URLSearchParams(query)) if (!first.has(key)) first.set(key, value)
  return [...first].flat()
}
