/** The canonical status codes by number, as gRPC has them. */
export const codeNames = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const

/** The name of a status code. */
export type CodeName = (typeof codeNames)[number]

/** A status as ttrpc sends it. */
export interface Status {
  /** 0 to 16. */
  code: number
  message: string
}

/**
 * A call that failed. `code` is the canonical name, so that whoever recognises errors by their code (`isNotFound` of
 * `@containerd-ts/interface`) needs no translation; `status` is what travelled.
 */
export class TtrpcError extends Error {
  override readonly name: string = 'TtrpcError'
  readonly code: CodeName

  constructor(
    readonly status: Status,
    options?: ErrorOptions,
  ) {
    super(status.message, options)
    this.code = codeNames[status.code] ?? 'Unknown'
  }
}

/** The connection is gone: the call may or may not have been carried out. */
export class TtrpcClosedError extends TtrpcError {
  override readonly name = 'TtrpcClosedError'

  constructor(
    message: 'ttrpc: closed' | 'ttrpc: server closed' | 'ttrpc: stream closed' = 'ttrpc: closed',
    options?: ErrorOptions,
  ) {
    super({ code: codeNumber('Unavailable'), message }, options)
  }
}

/** True for a {@link TtrpcClosedError}, also one of another copy of this package. */
export function isTtrpcClosed(error: unknown): boolean {
  return error instanceof Error && error.name === 'TtrpcClosedError'
}

export function codeNumber(name: CodeName): number {
  return codeNames.indexOf(name)
}

/** An error that is sent as that status. */
export function ttrpcError(name: CodeName, message: string, options?: ErrorOptions): TtrpcError {
  return new TtrpcError({ code: codeNumber(name), message }, options)
}

/** The status of an error by its canonical `code`, or by the errno of a system error; anything else is Unknown with its own text. */
export function statusOf(error: unknown): Status {
  const message = error instanceof Error ? error.message : String(error)
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
  const name = typeof code === 'string' ? (errnoCodes[code] ?? code) : undefined
  const number = name === undefined ? -1 : codeNames.indexOf(name as CodeName)
  if (number > 0) return { code: number, message }
  if (error instanceof Error && error.name === 'AbortError') return { code: codeNumber('Canceled'), message: 'context canceled' }
  if (error instanceof Error && error.name === 'TimeoutError') {
    return { code: codeNumber('DeadlineExceeded'), message: 'context deadline exceeded' }
  }
  return { code: codeNumber('Unknown'), message }
}

const errnoCodes: Readonly<Record<string, CodeName>> = {
  EEXIST: 'AlreadyExists',
  ENOENT: 'NotFound',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
}

/** What both sides say of a message beyond the limit. */
export function tooLarge(length: number, limit: number): TtrpcError {
  return ttrpcError('ResourceExhausted', `message length ${length} exceed maximum message size of ${limit}`)
}
