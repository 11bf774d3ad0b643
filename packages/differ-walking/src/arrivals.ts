import type { Archive } from '@containerd-ts/archive'
import { background, type EventExchange } from '@containerd-ts/interface'

/**
 * Has a thread ready when a layer is to be unpacked: where blobs arrive, some of them will be layers, and unpacking them begins when the
 * last one is there. Lasts until the signal.
 */
export async function warmOnArrivals(events: EventExchange, archive: Pick<Archive, 'warm'>, signal: AbortSignal): Promise<void> {
  for await (const _ of events.subscribe(background('', { signal }), ['topic=="/content/create"'])) archive.warm()
}
