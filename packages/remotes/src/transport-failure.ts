/** How far an exchange had come: connecting, agreeing on TLS, sending and receiving. */
export type Phase = 'connect' | 'handshake' | 'exchange'

/** No or only part of an answer came: the trouble is with the connection, not with what was asked. */
export class TransportFailure extends Error {
  override readonly name = 'TransportFailure'

  constructor(
    override readonly cause: Error,
    readonly phase: Phase,
  ) {
    // What resolves to several addresses fails with an AggregateError that has no text.
    super(cause.message === '' ? codeOf(cause) : cause.message)
  }
}

// What took too long once is not waited for again.
const passing = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EAI_AGAIN'])

/** True when the same may well succeed a moment later. */
export function isTransient({ cause }: TransportFailure): boolean {
  return passing.has(codeOf(cause))
}

/** True when the other side does not seem to speak TLS at all. */
export function isNoTls({ cause, phase }: TransportFailure): boolean {
  if (phase !== 'handshake') return false
  return /^(?:EPROTO|ECONNRESET|ETIMEDOUT|ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST))$/.test(
    codeOf(cause),
  )
}

/** The `code` of a system or TLS error, otherwise its name. */
export function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

/** An error that stands for a wait that took too long. */
export function timedOut(what: string, ms: number): Error {
  return Object.assign(new Error(`${what} took longer than ${ms} ms`), { code: 'ETIMEDOUT' })
}
