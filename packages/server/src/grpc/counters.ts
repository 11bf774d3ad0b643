import type { MethodDefinition } from '@containerd-ts/api'
import { StatusCode } from '@containerd-ts/interface'

/** Counts the calls of one method. */
export interface Counter {
  started(): void
  /** A message from the client. */
  received(): void
  /** A message to the client. */
  sent(): void
  handled(code: number): void
}

interface Method {
  readonly labels: string
  started: number
  received: number
  sent: number
  readonly handled: Map<number, number>
}

const codes = Object.entries(StatusCode)

/** Counts calls the way go-grpc-prometheus names them. */
export interface CallCounters {
  of(service: string, method: MethodDefinition): Counter
  prometheus(): string
}

export function createCallCounters(): CallCounters {
  const methods: Method[] = []
  const family = (name: string, help: string, samples: (method: Method) => string[]) =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} counter`, ...methods.flatMap(samples), ''].join('\n')
  return {
    of(service, method) {
      const type = `${method.requestStream ? 'bidi_stream' : method.responseStream ? 'server_stream' : 'unary'}`
      const labels = `grpc_method="${method.name}",grpc_service="${service}",grpc_type="${type}"`
      const entry: Method = { labels, started: 0, received: 0, sent: 0, handled: new Map() }
      methods.push(entry)
      return {
        started: () => {
          entry.started++
        },
        received: () => {
          entry.received++
        },
        sent: () => {
          entry.sent++
        },
        handled: (code) => {
          entry.handled.set(code, (entry.handled.get(code) ?? 0) + 1)
        },
      }
    },
    prometheus: () =>
      [
        family('grpc_server_started_total', 'Total number of RPCs started on the server.', (m) => [
          `grpc_server_started_total{${m.labels}} ${m.started}`,
        ]),
        family('grpc_server_msg_received_total', 'Total number of messages received from clients.', (m) => [
          `grpc_server_msg_received_total{${m.labels}} ${m.received}`,
        ]),
        family('grpc_server_msg_sent_total', 'Total number of messages sent to clients.', (m) => [
          `grpc_server_msg_sent_total{${m.labels}} ${m.sent}`,
        ]),
        // Codes that never were have their zero, as the rate of a series that is not there yet misses the first of it.
        family(
          'grpc_server_handled_total',
          'Total number of RPCs completed on the server, regardless of success or failure.',
          (m) =>
            codes.map(([name, code]) => `grpc_server_handled_total{grpc_code="${name}",${m.labels}} ${m.handled.get(code) ?? 0}`),
        ),
      ].join(''),
  }
}
