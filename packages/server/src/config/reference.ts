import { cgroupTable, debugTable, proxyTable, timeouts, topLevel, withoutEffect } from './schema.js'

/** What documentation tells of a key. */
interface DocumentedKey {
  readonly kind: string
  readonly default: unknown
  readonly doc: string
}

type DocumentedTable = Readonly<Record<string, DocumentedKey>>

/** What may be written into a configuration file beside the sections of plugins; documentation is made of it. */
export const configReference: {
  readonly topLevel: DocumentedTable
  readonly cgroup: DocumentedTable
  readonly debug: DocumentedTable
  readonly proxyPlugin: DocumentedTable
  readonly timeouts: typeof timeouts
  readonly withoutEffect: typeof withoutEffect
} = { topLevel, cgroup: cgroupTable, debug: debugTable, proxyPlugin: proxyTable, timeouts, withoutEffect }
