import { TransferDefinition } from '@containerd-ts/api/containerd/services/transfer/v1/transfer'
import {
  type BoundService,
  bindService,
  type Context,
  InvalidArgumentError,
  isUnimplemented,
  type MessageStream,
  type StreamManager,
  type TransferEnd,
  type TransferProgress,
  type Transferrer,
  UnimplementedError,
} from '@containerd-ts/interface'
import { progressSender } from './progress.js'
import { transferEndOf } from './transfer-ends.js'

/** What a Transfer service serves. */
export interface TransferServiceOptions {
  /** Asked in turn. */
  transferrers: readonly Transferrer[]
  /** Where the streams are that requests name. */
  streams: StreamManager
  /** Called before each operation; throws when the call may not be served. */
  authorize?: (ctx: Context) => void
}

/** Transferrers as the gRPC service `containerd.services.transfer.v1.Transfer`. */
export function transferServiceOf(options: TransferServiceOptions): BoundService {
  const { transferrers, streams, authorize = () => {} } = options

  async function firstThatCan(
    ctx: Context,
    from: TransferEnd,
    to: TransferEnd,
    onProgress?: (progress: TransferProgress) => void,
  ) {
    for (const transferrer of transferrers) {
      try {
        await transferrer.transfer(ctx, from, to, onProgress)
        return true
      } catch (error) {
        if (!isUnimplemented(error)) throw error
        ctx.log.debug('a transferrer refused', { from: from.kind, to: to.kind, error })
      }
    }
    return false
  }

  return bindService(TransferDefinition, {
    async transfer(ctx, { source, destination, options: { progressStream = '' } = {} }) {
      authorize(ctx)
      if (source === undefined) throw new InvalidArgumentError('source must be set')
      if (destination === undefined) throw new InvalidArgumentError('destination must be set')
      const used: MessageStream[] = []
      const lookup = (name: string) => {
        const stream = streams.get(ctx, name)
        used.push(stream)
        return stream
      }
      try {
        const onProgress = progressStream === '' ? undefined : progressSender(lookup(progressStream))
        const from = transferEndOf(source, lookup)
        const to = transferEndOf(destination, lookup)
        if (await firstThatCan(ctx, from, to, onProgress)) return {}
        throw new UnimplementedError(`method Transfer not implemented for ${source.typeUrl} to ${destination.typeUrl}`)
      } finally {
        for (const stream of used) stream.close()
      }
    },
  })
}
