import { definePlugin, durationMs, flag, load, PluginType, silentLogger, text } from '@containerd-ts/plugin'
import { expect, expectTypeOf, test } from 'vitest'
import type { ContentStore, MetadataStore, ServicePlugin, Snapshotter } from '../src/index.js'

// The type checker is the test; what must not compile is marked.
test('the configuration and what a plugin gets and gives are typed', async () => {
  const plugin = definePlugin({
    type: PluginType.GRPC,
    id: 'example',
    config: { path: text({ default: '/x', doc: 'A path.' }), wait: durationMs({ default: 5, doc: 'A time.' }) },
    init(ic) {
      expectTypeOf(ic.config).toEqualTypeOf<{ path: string; wait: number }>()
      expectTypeOf(ic.get(PluginType.Metadata)).toEqualTypeOf<MetadataStore>()
      expectTypeOf(ic.getAll(PluginType.Snapshotter)).toEqualTypeOf<ReadonlyMap<string, Snapshotter>>()
      expectTypeOf(ic.getById(PluginType.Content, 'content')).toEqualTypeOf<ContentStore>()
      // @ts-expect-error: no such key.
      expect(ic.config.missing).toBeUndefined()
      return { services: [] }
    },
  })
  expectTypeOf(plugin.init).returns.toEqualTypeOf<ServicePlugin | Promise<ServicePlugin>>()
  const set = await load([plugin], { root: '/r', state: '/s', log: silentLogger })
  expect(set.plugins()[0]?.error?.message).toMatch(/no plugin "io\.containerd\.metadata\.v1" is loaded/)
})

test('what is of another type does not compile', () => {
  definePlugin({
    type: PluginType.GRPC,
    id: 'example',
    // @ts-expect-error: a service plugin has services.
    init: () => ({ servces: [] }),
  })
  definePlugin({
    type: 'example.type.v1',
    id: 'example',
    // @ts-expect-error: the default is no string.
    config: { on: flag({ default: 'yes', doc: 'A switch.' }) },
    init: () => undefined,
  })
  // A type that nobody has declared may be anything.
  definePlugin({ type: 'example.type.v1', id: 'example', init: () => 7 })
})
