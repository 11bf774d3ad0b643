import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentStore } from '@containerd-ts/content-local'
import { eventExchange } from '@containerd-ts/events-exchange'
import type { MetadataStore } from '@containerd-ts/interface'
import { metadataStore } from '@containerd-ts/metadata-level'
import { type AnyRegistration, load, PluginType, silentLogger } from '@containerd-ts/plugin'

/** A service of the metadata side over real plugins. */
export interface ServiceFixture<H> {
  /** Its handlers. */
  readonly service: H
  readonly metadata: MetadataStore
  /** The same directory after a restart. */
  restart(): Promise<ServiceFixture<H>>
  close(): Promise<void>
}

/** Loads a service, and whatever is given beside it, on top of content, metadata and events, in a directory of its own. `H` are its handlers. */
export async function openService<H>(...service: readonly AnyRegistration[]): Promise<ServiceFixture<H>> {
  const root = await mkdtemp(join(tmpdir(), 'service-'))
  const open = async (): Promise<ServiceFixture<H>> => {
    const plugins = [contentStore, eventExchange, metadataStore, ...service]
    const set = await load(plugins, { root, state: root, log: silentLogger })
    const [bound] = set.get(PluginType.GRPC).services
    return {
      service: bound?.handlers as H,
      metadata: set.get(PluginType.Metadata),
      async restart() {
        await set.close()
        return open()
      },
      async close() {
        await set.close()
        await rm(root, { recursive: true })
      },
    }
  }
  return open()
}
