import { type Context, isNotFound, type LeaseManager } from '@containerd-ts/interface'

const dayMs = 24 * 60 * 60 * 1000

/** Runs `work` under the lease of the call, or under one of its own, so that no collection takes what has no name yet. */
export async function withLease<T>(ctx: Context, leases: LeaseManager, work: (ctx: Context) => Promise<T>): Promise<T> {
  if (ctx.lease !== undefined) return work(ctx)
  const { namespace, signal, log } = ctx
  // Whatever happens to this process, it does not last for ever.
  const expires = new Date(Date.now() + dayMs).toISOString()
  const { id } = await leases.create(ctx, { id: '', labels: { 'containerd.io/gc.expire': expires } })
  try {
    return await work({ namespace, signal, log, lease: id })
  } finally {
    await leases.delete(ctx, id).catch((error) => {
      if (!isNotFound(error)) log.warn('cannot delete the lease of a transfer', { lease: id, error })
    })
  }
}
