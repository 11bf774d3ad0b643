import { setMaxListeners } from 'node:events'
import type { Context } from '@containerd-ts/interface'

/** Work that goes on in several places at once and fails as a whole. */
export interface Scope {
  /** Its signal is aborted when any of the work fails, or the caller gives up. */
  readonly ctx: Context
  /** Waits for all of them, also when one fails. @throws what failed first in the whole scope. */
  all(tasks: Iterable<Promise<unknown>>): Promise<void>
}

/** Runs `work`, of which nothing goes on any more when this is settled. @throws what failed first. */
export async function inScope<T>(ctx: Context, work: (scope: Scope) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const { signal } = controller
  // As many listeners as there are blobs.
  setMaxListeners(0, signal)
  const forward = () => controller.abort(ctx.signal.reason)
  if (ctx.signal.aborted) forward()
  ctx.signal.addEventListener('abort', forward, { once: true })
  let failure: { error: unknown } | undefined
  const fail = (error: unknown) => {
    failure ??= { error }
    controller.abort(error)
  }
  const { namespace, lease, log } = ctx
  const scope: Scope = {
    ctx: { namespace, signal, log, ...(lease !== undefined && { lease }) },
    async all(tasks) {
      await Promise.all([...tasks].map((task) => task.catch(fail)))
      if (failure !== undefined) throw failure.error
    },
  }
  try {
    return await work(scope)
  } catch (error) {
    fail(error)
    throw failure?.error ?? error
  } finally {
    ctx.signal.removeEventListener('abort', forward)
  }
}
