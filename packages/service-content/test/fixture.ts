import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handlers } from '@containerd-ts/api'
import type { ContentDefinition } from '@containerd-ts/api/containerd/services/content/v1/content'
import { contentStore } from '@containerd-ts/content-local'
import { eventExchange } from '@containerd-ts/events-exchange'
import type { Context, MetadataStore } from '@containerd-ts/interface'
import { metadataStore } from '@containerd-ts/metadata-level'
import { load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { contentService } from '../src/index.js'

type ContentHandlers = Required<Handlers<typeof ContentDefinition, Context, 'read'>>

export interface Fixture {
  service: ContentHandlers
  metadata: MetadataStore
  /** The same directory after a restart. */
  restart(): Promise<Fixture>
  close(): Promise<void>
}

/** The service over real plugins in a directory of its own. */
export async function openService(): Promise<Fixture> {
  return openOn(await mkdtemp(join(tmpdir(), 'service-')))
}

async function openOn(root: string): Promise<Fixture> {
  const set = await load([contentStore, eventExchange, metadataStore, contentService], { root, state: root, log: silentLogger })
  const [bound] = set.get(PluginType.GRPC).services
  return {
    service: bound?.handlers as ContentHandlers,
    metadata: set.get(PluginType.Metadata),
    async restart() {
      await set.close()
      return openOn(root)
    },
    async close() {
      await set.close()
      await rm(root, { recursive: true })
    },
  }
}
