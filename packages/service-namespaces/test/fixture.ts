import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handlers } from '@containerd-ts/api'
import type { NamespacesDefinition } from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import { contentStore } from '@containerd-ts/content-local'
import { eventExchange } from '@containerd-ts/events-exchange'
import type { Context, MetadataStore } from '@containerd-ts/interface'
import { metadataStore } from '@containerd-ts/metadata-level'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { namespacesService } from '../src/index.js'

export interface Fixture {
  service: Required<Handlers<typeof NamespacesDefinition, Context>>
  metadata: MetadataStore
  close(): Promise<void>
}

/** The service over real plugins in a directory of its own. */
export async function openService(): Promise<Fixture> {
  const root = await mkdtemp(join(tmpdir(), 'service-'))
  const plugins = [contentStore, eventExchange, metadataStore, namespacesService]
  const set = await load(plugins, { root, state: root, log: silentLogger })
  const [bound] = set.get(PluginType.GRPC).services
  return {
    service: bound?.handlers as Fixture['service'],
    metadata: set.get(PluginType.Metadata),
    async close() {
      await set.close()
      await rm(root, { recursive: true })
    },
  }
}
