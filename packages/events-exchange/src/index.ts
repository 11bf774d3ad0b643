/** The event exchange plugin, `io.containerd.event.v1.exchange`: hands events from whoever publishes to whoever subscribed. */
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createExchange } from './exchange.js'

export { createExchange, type Exchange, type ExchangeOptions } from './exchange.js'

/** The plugin `io.containerd.event.v1.exchange`. */
export const eventExchange: Registration<typeof PluginType.Event> = {
  type: PluginType.Event,
  id: 'exchange',
  init: () => createExchange(),
}

register(eventExchange)
