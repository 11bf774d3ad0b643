import type { MethodDefinition } from '@containerd-ts/api'
import { StatusCode } from '@containerd-ts/interface'

/** Counts the calls of one method. */
export interface Counter {
  /** Gives back what `handled` wants to know. */
  started(): Started
  /** A message from the client. */
  received(): void
  /** A message to the client. */
  sent(): void
  handled(code: number, started: Started): void
}

/** When a call began, in milliseconds; 0 where nobody wants to know. */
export type Started = number

interface Method {
  readonly labels: string
  started: number
  received: number
  sent: number
  readonly handled: Map<number, number>
  readonly latency: Latency
}

/** Of the calls of a method, in seconds. */
interface Latency {
  /** How many were not above each bound, and above the one before. */
  readonly buckets: number[]
  count: number
  sum: number
}

// Those of Prometheus' own libraries.
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

const codes = Object.entries(StatusCode)

/** Counts calls the way go-grpc-prometheus names them. */
export interface CallCounters {
  of(service: string, method: MethodDefinition): Counter
  prometheus(): string
}

/** With `histogram`, how long calls took is counted, too. */
export function createCallCounters({ histogram }: { histogram: boolean }): CallCounters {
  const methods: Method[] = []
  const family = (name: string, help: string, samples: (method: Method) => string[], type = 'counter') =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...methods.flatMap(samples), ''].join('\n')
  return {
    of(service, method) {
      const type = `${method.requestStream ? 'bidi_stream' : method.responseStream ? 'server_stream' : 'unary'}`
      const labels = `grpc_method="${method.name}",grpc_service="${service}",grpc_type="${type}"`
      const entry: Method = {
        labels,
        started: 0,
        received: 0,
        sent: 0,
        handled: new Map(),
        latency: { buckets: bounds.map(() => 0), count: 0, sum: 0 },
      }
      methods.push(entry)
      return {
        started: () => {
          entry.started++
          return histogram ? performance.now() : 0
        },
        received: () => {
          entry.received++
        },
        sent: () => {
          entry.sent++
        },
        handled: (code, started) => {
          entry.handled.set(code, (entry.handled.get(code) ?? 0) + 1)
          if (histogram) observe(entry.latency, (performance.now() - started) / 1000)
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
        histogram
          ? family(
              'grpc_server_handling_seconds',
              'Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.',
              (m) => (m.latency.count === 0 ? [] : histogramOf('grpc_server_handling_seconds', m.labels, m.latency)),
              'histogram',
            )
          : '',
      ].join(''),
  }
}

function observe(latency: Latency, seconds: number): void {
  const index = bounds.findIndex((bound) => seconds <= bound)
  if (index >= 0) latency.buckets[index] = (latency.buckets[index] ?? 0) + 1
  latency.count++
  latency.sum += seconds
}

/** A bucket counts what is in those before, too. */
function histogramOf(name: string, labels: string, { buckets, count, sum }: Latency): string[] {
  let below = 0
  const lines = bounds.map((bound, index) => {
    below += buckets[index] ?? 0
    return `${name}_bucket{${labels},le="${bound}"} ${below}`
  })
  return [
    ...lines,
    `${name}_bucket{${labels},le="+Inf"} ${count}`,
    `${name}_sum{${labels}} ${sum}`,
    `${name}_count{${labels}} ${count}`,
  ]
}
