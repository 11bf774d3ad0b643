import { packAny } from '@containerd-ts/api'
import { Progress } from '@containerd-ts/api/containerd/types/transfer/transfer'
import { type MessageStream, type TransferProgress, toWireDescriptor } from '@containerd-ts/interface'

// A client that does not read them shall not make them pile up.
const maxWaiting = 1000

/** Tells a client of progress, in order, without ever waiting for it: one that does not keep up misses some. */
export function progressSender(stream: MessageStream): (progress: TransferProgress) => void {
  let waiting = 0
  return ({ event, name = '', parents = [], progress = 0, total = 0, descriptor }) => {
    if (waiting >= maxWaiting) return
    waiting++
    const desc = descriptor && toWireDescriptor(descriptor)
    stream
      .send(
        packAny('containerd.types.transfer.Progress', Progress, { event, name, parents: [...parents], progress, total, desc }),
      )
      // The client has gone: that ends the transfer, too.
      .catch(() => {})
      .finally(() => {
        waiting--
      })
  }
}
