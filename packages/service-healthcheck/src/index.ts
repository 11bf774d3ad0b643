/** The gRPC health service: clients poll it to learn that the daemon is up. */
import { HealthDefinition, HealthCheckResponse_ServingStatus as ServingStatus } from '@containerd-ts/api/grpc/health/v1/health'
import { bindService, type Context, NotFoundError } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'

/** The plugin `io.containerd.grpc.v1.healthcheck`. */
export const healthService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'healthcheck',
  init: () => ({
    services: [
      bindService(HealthDefinition, {
        // Only the daemon as a whole, named by the empty string, is watched; it serves for as long as its socket answers.
        async check(_ctx, { service }) {
          if (service !== '') throw new NotFoundError('unknown service')
          return { status: ServingStatus.SERVING }
        },
        async *watch(ctx, { service }) {
          yield { status: service === '' ? ServingStatus.SERVING : ServingStatus.SERVICE_UNKNOWN }
          await aborted(ctx)
        },
      }),
    ],
  }),
}

function aborted({ signal }: Context): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

register(healthService)
