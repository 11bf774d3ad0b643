/** The Events service over gRPC, and the one over ttrpc to which shims forward theirs. */
import { EventsDefinition as TtrpcEventsDefinition } from '@containerd-ts/api/containerd/services/events/ttrpc/v1/events'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/v1/events'
import type { Envelope as WireEnvelope } from '@containerd-ts/api/containerd/types/event'
import { bindService, type Envelope, InvalidArgumentError, requireNamespace } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.events`. */
export const eventsService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'events',
  requires: [PluginType.Event],
  init({ events }) {
    return {
      services: [
        bindService(EventsDefinition, {
          async publish(ctx, { topic, event }) {
            requireNamespace(ctx)
            await events.publish(ctx, topic, event ?? { typeUrl: '', value: new Uint8Array() })
            return {}
          },
          async forward(ctx, { envelope }) {
            await events.forward(ctx, fromWire(envelope))
            return {}
          },
          subscribe: (ctx, { filters }) => events.subscribe(ctx, filters),
        }),
      ],
    }
  },
}

/** The plugin `io.containerd.ttrpc.v1.events`, to which shims report. */
export const ttrpcEventsService: Registration<typeof PluginType.TTRPC> = {
  type: PluginType.TTRPC,
  id: 'events',
  requires: [PluginType.Event],
  init({ events }) {
    return {
      services: [
        bindService(TtrpcEventsDefinition, {
          async forward(ctx, { envelope }) {
            await events.forward(ctx, fromWire(envelope))
            return {}
          },
        }),
      ],
    }
  },
}

function fromWire(envelope: WireEnvelope | undefined): Envelope {
  if (envelope === undefined) throw new InvalidArgumentError('envelope must be set')
  const { timestamp = { seconds: 0, nanos: 0 }, namespace, topic, event = { typeUrl: '', value: new Uint8Array() } } = envelope
  return { timestamp, namespace, topic, event }
}

register(eventsService)
register(ttrpcEventsService)
