import { BootstrapResult } from '@containerd-ts/api/containerd/runtime/bootstrap/v1/bootstrap'
import { UnimplementedError, UnknownError } from '@containerd-ts/interface'

/** How a shim is reached. */
export interface Bootstrap {
  /** Version of the Task API. */
  version: 2 | 3
  /** For instance `unix:///run/containerd/s/…`. */
  address: string
  protocol: 'ttrpc' | 'grpc'
}

/**
 * Reads what a shim printed when it was started: a BootstrapResult, JSON, or the bare address, which are the ways of 2.3, 2.0 and 1.x.
 *
 * @throws UnknownError when it is none of them, UnimplementedError for a newer version.
 */
export function parseAnswer(output: Buffer): Bootstrap {
  const text = output.toString().trim()
  if (text.startsWith('{')) return parseJson(text)
  if (/^(unix|vsock|hvsock):\/\/|^\//.test(text)) return { version: 2, address: text, protocol: 'ttrpc' }
  let result: BootstrapResult
  try {
    result = BootstrapResult.decode(output)
  } catch (cause) {
    throw new UnknownError(`the shim's answer is not understood: ${JSON.stringify(text.slice(0, 200))}`, { cause })
  }
  if (result.address === '') throw new UnknownError(`the shim's answer has no address: ${JSON.stringify(text.slice(0, 200))}`)
  return checked(result.version, result.address, result.protocol)
}

/** Reads `bootstrap.json` of a bundle; undefined when it is damaged. */
export function parseStoredBootstrap(text: string): Bootstrap | undefined {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

function parseJson(text: string): Bootstrap {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new UnknownError('the answer of the shim is no object')
  const { version, address, protocol } = value as Record<string, unknown>
  if (typeof address !== 'string' || address === '') throw new UnknownError('the answer of the shim has no address')
  return checked(typeof version === 'number' ? version : 0, address, typeof protocol === 'string' ? protocol : '')
}

function checked(version: number, address: string, protocol: string): Bootstrap {
  if (version > 3) throw new UnimplementedError(`unsupported shim version (${version})`)
  if (protocol !== '' && protocol !== 'ttrpc' && protocol !== 'grpc')
    throw new UnimplementedError(`shim protocol ${JSON.stringify(protocol)}`)
  return { version: version === 3 ? 3 : 2, address, protocol: protocol === 'grpc' ? 'grpc' : 'ttrpc' }
}
