import { setMaxListeners } from 'node:events'
import { type Logger, silentLogger } from '@containerd-ts/plugin'
import { FailedPreconditionError } from './errors.js'
import { validateIdentifier } from './identifier.js'

/** What accompanies every operation; always the first argument. */
export interface Context {
  /** The namespace of the call; empty when the caller gave none. */
  readonly namespace: string
  /** The lease that created objects are attached to. */
  readonly lease?: string
  /** Aborted when the caller cancels or goes away. Operations stop and release what they hold. */
  readonly signal: AbortSignal
  readonly log: Logger
}

const never = new AbortController().signal
// Everything that no client asked for listens to this one.
setMaxListeners(0, never)

/** A context for work that no client asked for, and for tests. */
export function background(namespace = '', options: Partial<Context> = {}): Context {
  return { namespace, signal: never, log: silentLogger, ...options }
}

/**
 * The namespace of a call that needs one.
 *
 * @throws FailedPreconditionError when there is none, InvalidArgumentError when it is no identifier.
 */
export function requireNamespace(ctx: Context): string {
  if (ctx.namespace === '') throw new FailedPreconditionError('namespace is required')
  validateIdentifier(ctx.namespace, 'namespace validation')
  return ctx.namespace
}
