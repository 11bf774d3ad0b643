import type { MethodDefinition } from '@containerd-ts/api'
import { StatusCode } from '@containerd-ts/interface'

interface Counter {
  started(): void
  handled(code: number): void
}

const codeNames = new Map(Object.entries(StatusCode).map(([name, code]) => [code as number, name]))

/** Counts calls the way go-grpc-prometheus names them. */
export interface CallCounters {
  of(service: string, method: MethodDefinition): Counter
  prometheus(): string
}

export function createCallCounters(): CallCounters {
  const methods: { labels: string; started: number; handled: Map<number, number> }[] = []
  return {
    of(service, method) {
      const type = `${method.requestStream ? 'bidi_stream' : method.responseStream ? 'server_stream' : 'unary'}`
      const entry = {
        labels: `grpc_method="${method.name}",grpc_service="${service}",grpc_type="${type}"`,
        started: 0,
        handled: new Map<number, number>(),
      }
      methods.push(entry)
      return {
        started: () => {
          entry.started++
        },
        handled: (code) => {
          entry.handled.set(code, (entry.handled.get(code) ?? 0) + 1)
        },
      }
    },
    prometheus() {
      const started = methods.map((m) => `grpc_server_started_total{${m.labels}} ${m.started}`)
      const handled = methods.flatMap((m) =>
        [...m.handled].map(
          ([code, count]) => `grpc_server_handled_total{grpc_code="${codeNames.get(code) ?? 'Unknown'}",${m.labels}} ${count}`,
        ),
      )
      return [
        '# HELP grpc_server_started_total Total number of RPCs started on the server.',
        '# TYPE grpc_server_started_total counter',
        ...started,
        '# HELP grpc_server_handled_total Total number of RPCs completed on the server, regardless of success or failure.',
        '# TYPE grpc_server_handled_total counter',
        ...handled,
        '',
      ].join('\n')
    },
  }
}
