import type { Differ, LeaseManager, MetadataStore, Snapshotter } from '@containerd-ts/interface'
import { type AnyRegistration, graph, load, PluginType, SkipPlugin, silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { localTransfer } from '../src/index.js'

const differ: Partial<Differ> = { apply: () => Promise.reject(new Error('not asked')) }
const metadata: Partial<MetadataStore> = { snapshotters: new Map([['native', {} as Snapshotter]]) }

function plugin(type: string, id: string, init: () => unknown): AnyRegistration {
  return { type, id, init }
}

/** Why the plugin is not there, undefined when it is. */
async function errorWith(config: object, ...others: AnyRegistration[]): Promise<string | undefined> {
  const registrations = [
    plugin(PluginType.Metadata, 'test', () => metadata),
    plugin(PluginType.Lease, 'test', () => ({}) as LeaseManager),
    plugin(PluginType.Differ, 'walking', () => differ),
    ...others,
    localTransfer,
  ]
  const section = { 'io.containerd.transfer.v1.local': config }
  const set = await load(graph(registrations), { root: '/r', state: '/s', log: silentLogger, config: section })
  return set.plugins().find(({ type }) => type === PluginType.Transfer)?.error?.message
}

test('every snapshotter is unpacked into, or those that are named, which have to be there', async () => {
  expect(await errorWith({})).toBeUndefined()
  expect(await errorWith({ unpack_config: [{ snapshotter: 'native' }] })).toBeUndefined()
  expect(await errorWith({ unpack_config: [{ snapshotter: 'btrfs', optional: true }] })).toBeUndefined()
  expect(await errorWith({ unpack_config: [{ snapshotter: 'btrfs' }] })).toContain('snapshotter "btrfs": not found')
  expect(await errorWith({ unpack_config: [{ snapshotter: 'native', differ: 'other' }] })).toContain('differ "other": not found')
  expect(await errorWith({ unpack_config: [{ snapshotter: 'native', platform: '' }] })).toContain('cannot parse platform')
})

test('a verifier that failed keeps images from being pulled, one that is not for this machine does not', async () => {
  const failing = plugin(PluginType.ImageVerifier, 'signatures', () => {
    throw new Error('no keys')
  })
  expect(await errorWith({}, failing)).toContain('image verifier signatures failed')
  const skipped = plugin(PluginType.ImageVerifier, 'signatures', () => {
    throw new SkipPlugin('not here')
  })
  expect(await errorWith({}, skipped)).toBeUndefined()
})
