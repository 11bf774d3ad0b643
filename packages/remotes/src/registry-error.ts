import { ContainerdError, type ErrorCode, UnavailableError } from '@containerd-ts/interface'
import { parseChallenges } from './challenge.js'
import { readUpTo } from './chunk-reader.js'
import type { Answer } from './exchange.js'
import { isRecord } from './record.js'
import { shownText, shownUrl } from './shown.js'
import { TransportFailure } from './transport-failure.js'

const maxErrorBody = 64 * 1024

/** The error that an unwelcome answer stands for, with what the server says. Reads the body. `about` goes before the text. */
export async function statusError(about: string, answer: Answer): Promise<ContainerdError> {
  const message = await serverMessage(answer)
  const status = `unexpected status from ${answer.method} request to ${shownUrl(answer.url)}: ${answer.status} ${shownText(answer.statusText)}`
  return new ContainerdError(codeOfStatus(answer.status), `${about}: ${status.trim()}${message === '' ? '' : `: ${message}`}`)
}

/** An error for whoever asked: trouble of the connection becomes Unavailable, all else stays as it is. */
export function requestError(about: string, method: string, url: URL, error: unknown): unknown {
  if (!(error instanceof TransportFailure)) return error
  return new UnavailableError(`${about}: ${method} request to ${shownUrl(url)} failed: ${shownText(error.message)}`, {
    cause: error,
  })
}

/** What clients of containerd look for when a name is not there or not for everybody, before the status. */
export function accessDenied(action: 'pull' | 'push', about: string, error: ContainerdError): ContainerdError {
  if (error.code !== 'Unauthenticated') return error
  const why = `${action} access denied, repository does not exist or may require authorization`
  return new ContainerdError(
    'Unauthenticated',
    error.message.replace(about, () => `${about}: ${why}`),
    { cause: error },
  )
}

function codeOfStatus(status: number): ErrorCode {
  switch (status) {
    case 401:
      return 'Unauthenticated'
    case 403:
      return 'PermissionDenied'
    case 404:
      return 'NotFound'
    case 405:
    case 501:
      return 'Unimplemented'
    case 416:
      return 'OutOfRange'
    case 408:
    case 429:
      return 'Unavailable'
    default:
      return status >= 500 ? 'Unavailable' : 'Unknown'
  }
}

// `{errors: [{code, message}]}` of a registry, `{error, error_description}` or `{details}` of a token server, or plain text.
async function serverMessage(answer: Answer): Promise<string> {
  let text = ''
  try {
    text = (await readUpTo(answer.body, maxErrorBody)).bytes.toString('utf8')
  } catch {
    // The status says enough.
  }
  if (text === '') return shownText(parseChallenges(answer.wwwAuthenticate)[0]?.parameters['error'] ?? '')
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    // A page for a browser says nothing in one line.
    return answer.headers['content-type']?.startsWith('text/html') === true ? '' : shownText(text)
  }
  if (!isRecord(body)) return ''
  const errors = Array.isArray(body['errors']) ? body['errors'] : []
  const lines = errors.slice(0, 8).flatMap((error: unknown) => (isRecord(error) ? join(error['code'], error['message']) : []))
  if (lines.length > 0) return shownText(lines.join('; '))
  return shownText(join(body['error'], body['error_description'] ?? body['details'] ?? body['message']))
}

function join(...parts: readonly unknown[]): string {
  return parts.filter((part) => typeof part === 'string' && part !== '').join(': ')
}
