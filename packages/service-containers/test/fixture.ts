import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handlers } from '@containerd-ts/api'
import type { ContainersDefinition } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import { contentStore } from '@containerd-ts/content-local'
import { eventExchange } from '@containerd-ts/events-exchange'
import type { Context, MetadataStore } from '@containerd-ts/interface'
import { metadataStore } from '@containerd-ts/metadata-level'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { containersService } from '../src/index.js'

export interface Fixture {
  service: Required<Handlers<typeof ContainersDefinition, Context>>
  metadata: MetadataStore
  close(): Promise<void>
}

/** The service over real plugins in a directory of its own. */
export async function openService(): Promise<Fixture> {
  const root = await mkdtemp(join(tmpdir(), 'service-'))
  const plugins = [contentStore, eventExchange, metadataStore, containersService]
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
