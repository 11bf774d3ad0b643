/** The canonical status codes of gRPC and ttrpc, by name. */
export const StatusCode = {
  OK: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const

/** The name of a status code. */
export type StatusName = keyof typeof StatusCode
/** The name of a status code that is an error. */
export type ErrorCode = Exclude<StatusName, 'OK'>

// The text of each class, with which messages end: clients strip it and add it again.
const classTexts: Readonly<Record<ErrorCode, string>> = {
  Canceled: 'context canceled',
  Unknown: 'unknown',
  InvalidArgument: 'invalid argument',
  DeadlineExceeded: 'context deadline exceeded',
  NotFound: 'not found',
  AlreadyExists: 'already exists',
  PermissionDenied: 'permission denied',
  ResourceExhausted: 'resource exhausted',
  FailedPrecondition: 'failed precondition',
  Aborted: 'aborted',
  OutOfRange: 'out of range',
  Unimplemented: 'not implemented',
  Internal: 'internal',
  Unavailable: 'unavailable',
  DataLoss: 'data loss',
  Unauthenticated: 'unauthorized',
}

/**
 * An error with a canonical status. Thrown anywhere, turned into a gRPC or ttrpc status in one place.
 *
 * The message names the kind of object and its id, as in `image "docker.io/library/busybox:latest"`; the class text is appended
 * unless the message ends in it. Errors are recognised by `code`, never by prototype, so two copies of this package agree.
 */
export class ContainerdError extends Error {
  override readonly name: string = 'ContainerdError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(withClassText(code, message), options)
  }
}

function withClassText(code: ErrorCode, message: string): string {
  const text = classTexts[code]
  if (code === 'Unknown' || message === text || message.endsWith(`: ${text}`)) return message
  return `${message}: ${text}`
}

function errorClass(code: ErrorCode) {
  const named = class extends ContainerdError {
    override readonly name = `${code}Error`
    constructor(message: string, options?: ErrorOptions) {
      super(code, message, options)
    }
  }
  Object.defineProperty(named, 'name', { value: `${code}Error` })
  return named
}

/** The caller's words are wrong, whatever the state of the system. */
export const InvalidArgumentError = errorClass('InvalidArgument')
/** The named object does not exist. */
export const NotFoundError = errorClass('NotFound')
/** The named object exists already. */
export const AlreadyExistsError = errorClass('AlreadyExists')
/** The state of the system forbids it; the caller must change the state first. */
export const FailedPreconditionError = errorClass('FailedPrecondition')
/** Not now: a lock is held or a peer is gone. Trying again may succeed. */
export const UnavailableError = errorClass('Unavailable')
/** This daemon or plugin does not offer it. */
export const UnimplementedError = errorClass('Unimplemented')
/** A position lies outside of the object. */
export const OutOfRangeError = errorClass('OutOfRange')
/** Bytes were lost or are damaged. */
export const DataLossError = errorClass('DataLoss')
/** The caller may not. */
export const PermissionDeniedError = errorClass('PermissionDenied')
/** A limit was reached: message size, disk space. */
export const ResourceExhaustedError = errorClass('ResourceExhausted')
/** The operation was given up, for instance because of another one. */
export const AbortedError = errorClass('Aborted')
/** The caller cancelled. */
export const CanceledError = errorClass('Canceled')
/** The time of the caller ran out. */
export const DeadlineExceededError = errorClass('DeadlineExceeded')
/** Something that must hold does not: a mistake here. */
export const InternalError = errorClass('Internal')
/** Anything unclassified, for instance what a runtime printed. */
export const UnknownError = errorClass('Unknown')

/** The code of an error that carries one, undefined otherwise. */
export function errorCode(error: unknown): ErrorCode | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || typeof error.code !== 'string') return undefined
  return Object.hasOwn(classTexts, error.code) ? (error.code as ErrorCode) : undefined
}

/** True for an error with that code. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return errorCode(error) === code
}

/** True for an error with the code NotFound. */
export const isNotFound = (error: unknown): boolean => hasCode(error, 'NotFound')
/** True for an error with the code AlreadyExists. */
export const isAlreadyExists = (error: unknown): boolean => hasCode(error, 'AlreadyExists')
/** True for an error with the code FailedPrecondition. */
export const isFailedPrecondition = (error: unknown): boolean => hasCode(error, 'FailedPrecondition')
/** True for an error with the code InvalidArgument. */
export const isInvalidArgument = (error: unknown): boolean => hasCode(error, 'InvalidArgument')
/** True for an error with the code Unavailable. */
export const isUnavailable = (error: unknown): boolean => hasCode(error, 'Unavailable')
/** True for an error with the code Unimplemented. */
export const isUnimplemented = (error: unknown): boolean => hasCode(error, 'Unimplemented')
/** True for an error with the code Canceled. */
export const isCanceled = (error: unknown): boolean => hasCode(error, 'Canceled')

/** True for a Node system error of that errno name, for instance `ENOENT`. */
export function isErrno(error: unknown, errno: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === errno
}

/** A status as gRPC and ttrpc send it. */
export interface Status {
  /** 0 to 16, see {@link StatusCode}. */
  readonly code: number
  readonly message: string
}

/**
 * The status that a client sees. An aborted signal is `Canceled`; what carries no code is `Unknown` with its own text, as containerd
 * has it: a raw system error is not classified by guessing.
 */
export function toStatus(error: unknown): Status {
  const code = errorCode(error)
  if (code !== undefined) return { code: StatusCode[code], message: messageOf(error) }
  if (error instanceof Error && error.name === 'AbortError') return { code: StatusCode.Canceled, message: classTexts.Canceled }
  if (error instanceof Error && error.name === 'TimeoutError')
    return { code: StatusCode.DeadlineExceeded, message: classTexts.DeadlineExceeded }
  return { code: StatusCode.Unknown, message: messageOf(error) }
}

/** The error that a status received from another process stands for. */
export function fromStatus(status: Status): ContainerdError {
  const entry = Object.entries(StatusCode).find(([, code]) => code === status.code)
  const code = entry === undefined || entry[0] === 'OK' ? 'Unknown' : (entry[0] as ErrorCode)
  return new ContainerdError(code, status.message)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
