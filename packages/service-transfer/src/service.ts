import { TransferDefinition } from '@containerd-ts/api/containerd/services/transfer/v1/transfer'
import {
  type BoundService,
  bindService,
  type Context,
  firstThatCan,
  InvalidArgumentError,
  isUnimplemented,
  type MessageStream,
  type StreamManager,
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
        await firstThatCan('transferrer', transferrers, (transferrer) => transferrer.transfer(ctx, from, to, onProgress))
        return {}
      } catch (error) {
        if (!isUnimplemented(error)) throw error
        ctx.log.debug('no transferrer can', { error })
        throw new UnimplementedError(`method Transfer not implemented for ${source.typeUrl} to ${destination.typeUrl}`, {
          cause: error,
        })
      } finally {
        for (const stream of used) stream.close()
      }
    },
  })
}
