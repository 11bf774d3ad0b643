import { expect, test } from 'vitest'
import {
  type AnyRegistration,
  type ConfigError,
  choice,
  decodeConfig,
  durationMs,
  encodeConfig,
  flag,
  formatDuration,
  graph,
  inspectConfig,
  integer,
  list,
  load,
  parseDuration,
  Registry,
  record,
  SkipPlugin,
  silentLogger,
  table,
  tables,
  text,
  uri,
} from '../src/index.js'

function plugin(type: string, id: string, parts: Partial<AnyRegistration> = {}): AnyRegistration {
  return { type, id, init: () => ({ id }), ...parts }
}

const options = { root: '/r', state: '/s', log: silentLogger }

test('graph puts requirements first and otherwise keeps the order', () => {
  const order = graph([
    plugin('t.last', 'z', { requires: ['*'] }),
    plugin('t.service', 'a', { requires: ['t.metadata'] }),
    plugin('t.metadata', 'm', { requires: ['t.content'], after: ['t.optional'] }),
    plugin('t.content', 'c'),
    plugin('t.content', 'd'),
  ])
  expect(order.map(uri)).toEqual(['t.content.c', 't.content.d', 't.metadata.m', 't.service.a', 't.last.z'])
})

test('graph names what is wrong', () => {
  expect(() => graph([plugin('t.a', 'x', { requires: ['t.b'] }), plugin('t.b', 'y', { requires: ['t.a'] })])).toThrow(
    't.a.x -> t.b.y -> t.a.x',
  )
  expect(() => graph([plugin('t.a', 'x', { requires: ['t.none'] })])).toThrow(
    'plugin "t.a.x" requires "t.none", which nothing registers',
  )
  expect(() => graph([plugin('t.a', 'x'), plugin('t.a', 'x')])).toThrow('plugin "t.a.x" is registered twice')
})

test('a disabled requirement fails its dependant, not the graph', async () => {
  const order = graph([plugin('t.a', 'x'), plugin('t.b', 'y', { requires: ['t.a'], init: (ic) => ic.get('t.a') })], {
    disabled: ['t.a.x'],
  })
  const set = await load(order, options)
  expect(set.plugins()).toMatchObject([{ id: 'y', error: { message: 'no plugin "t.a" is loaded' } }])
})

test('the registry refuses what cannot be', () => {
  const registry = new Registry()
  const first = plugin('t.a', 'x')
  registry.register(first)
  registry.register(first)
  expect(() => registry.register(plugin('t.a', 'x'))).toThrow('registered twice')
  expect(() => registry.register(plugin('t.a', ''))).toThrow('no type or no id')
  expect(() => registry.register(plugin('t.a', 'y', { requires: ['t.a'] }))).toThrow('requires its own type')
  expect(() => registry.register(plugin('t.a', 'y', { requires: ['*', 't.b'] }))).toThrow('must be the only requirement')
})

test('failures and skips stay with their plugin', async () => {
  const closed: string[] = []
  const closing = (id: string) => ({ init: () => ({ close: () => closed.push(id) }) })
  const set = await load(
    [
      plugin('t.one', 'first', closing('first')),
      plugin('t.one', 'broken', {
        init: () => {
          throw new Error('no luck')
        },
      }),
      plugin('t.two', 'skipped', {
        init: () => {
          throw new SkipPlugin('no kernel support')
        },
      }),
      plugin('t.three', 'needy', { init: (ic) => ic.get('t.two') }),
      plugin('t.four', 'last', closing('last')),
    ],
    options,
  )
  expect(set.plugins().map((p) => p.error?.message)).toEqual([
    undefined,
    'no luck',
    'no kernel support: skip plugin',
    'plugin "t.two.skipped" did not load: no kernel support: skip plugin',
    undefined,
  ])
  expect([...set.getAll('t.one').keys()]).toEqual(['first'])
  await set.close()
  expect(closed).toEqual(['last', 'first'])
})

test('a required plugin that fails stops the boot and closes what was there', async () => {
  let closed = false
  const order = [
    plugin('t.a', 'x', {
      init: () => ({
        close: () => {
          closed = true
        },
      }),
    }),
    plugin('t.b', 'y', {
      init: () => {
        throw new Error('disk on fire')
      },
    }),
  ]
  await expect(load(order, { ...options, required: ['t.b.y'] })).rejects.toThrow('load required plugin t.b.y: disk on fire')
  expect(closed).toBe(true)
  await expect(load(order, { ...options, required: ['t.c.z'] })).rejects.toThrow('required plugin [t.c.z] not included')
})

test('an init that hangs fails its plugin, and what it gives back in the end is closed', async () => {
  let finish = (_instance: unknown) => {}
  let aborted = false
  let closed = false
  const set = await load(
    [
      plugin('t.a', 'hanging', {
        init: (ic) => {
          ic.signal.addEventListener('abort', () => {
            aborted = true
          })
          return new Promise((resolve) => {
            finish = resolve
          })
        },
      }),
      plugin('t.b', 'fine'),
    ],
    { ...options, lifecycleTimeoutMs: (name) => (name === 't.a.hanging' ? 20 : undefined) },
  )
  expect(set.plugins().map((p) => p.error?.message)).toEqual([
    'init of plugin "t.a.hanging" did not finish within 20 ms',
    undefined,
  ])
  expect(aborted).toBe(true)
  finish({
    close: () => {
      closed = true
    },
  })
  await new Promise(setImmediate)
  expect(closed).toBe(true)
})

test('a stop ends a boot that waits for a plugin', async () => {
  const stop = new AbortController()
  let closed = false
  const booting = load(
    [
      plugin('t.a', 'first', {
        init: () => ({
          close: () => {
            closed = true
          },
        }),
      }),
      plugin('t.b', 'waiting', { init: () => new Promise(() => {}) }),
    ],
    { ...options, signal: stop.signal },
  )
  setImmediate(() => stop.abort(new Error('SIGTERM')))
  await expect(booting).rejects.toThrow('SIGTERM')
  expect(closed).toBe(true)
})

test('a close that hangs does not keep the daemon', async () => {
  const errors: string[] = []
  const log = {
    ...silentLogger,
    with: () => log,
    error: (_message: string, fields?: object) => errors.push(String(Object(fields).error)),
  }
  const set = await load([plugin('t.a', 'x', { init: () => ({ close: () => new Promise(() => {}) }) })], {
    ...options,
    log,
    lifecycleTimeoutMs: () => 20,
  })
  await set.close()
  expect(errors).toEqual(['DeadlineError: close of plugin "t.a.x" did not finish within 20 ms'])
})

test('several plugins of a type have no single answer', async () => {
  const set = await load([plugin('t.a', 'x'), plugin('t.a', 'y')], options)
  expect(() => set.get('t.a')).toThrow('several plugins of type "t.a": x, y')
})

const schema = {
  path: text({ default: '/x', doc: 'A path.' }),
  delay: durationMs({ default: 100, doc: 'A delay.' }),
  count: integer({ default: 3, min: 1, doc: 'A count.' }),
  on: flag({ default: false, doc: 'A switch.' }),
  names: list({ default: ['a'], doc: 'Names.' }),
  policy: choice(['shared', 'isolated'], { default: 'shared', doc: 'A policy.' }),
}

test('configuration decodes onto defaults', () => {
  const config = decodeConfig(schema, { delay: '1m30s', names: [] })
  expect(config).toEqual({ path: '/x', delay: 90_000, count: 3, on: false, names: [], policy: 'shared' })
})

test('every problem of a section is told at once', () => {
  const { config, problems } = inspectConfig(schema, { coutn: 1, on: 'true', path: '/y', frobnicate: true })
  expect(config).toMatchObject({ path: '/y', on: false, count: 3 })
  expect(problems.map((p) => p.message)).toEqual([
    'coutn: unknown key; did you mean "count"?',
    'on: expected true or false, got the string "true"; write on = true',
    'frobnicate: unknown key; known keys: path, delay, count, on, names, policy',
  ])
})

test('tables nest, in lists too, and records take any name', () => {
  const nested = {
    inner: table({ depth: integer({ default: 1, doc: 'A depth.' }) }, { doc: 'A table.' }),
    labels: record(text({ default: '', doc: 'A value.' }), { doc: 'Labels.' }),
    list: tables({ depth: integer({ default: 1, doc: 'A depth.' }) }, { doc: 'Tables.' }),
  }
  expect(decodeConfig(nested, {})).toEqual({ inner: { depth: 1 }, labels: {}, list: [] })
  const config = decodeConfig(nested, { inner: { depth: 2 }, labels: { a: 'b' }, list: [{}, { depth: 3 }] })
  expect(encodeConfig(nested, config)).toEqual({
    inner: { depth: 2 },
    labels: { a: 'b' },
    list: [{ depth: 1 }, { depth: 3 }],
  })
  expect(() => decodeConfig(nested, { inner: { deptj: 2 } })).toThrow('inner.deptj: unknown key; did you mean "depth"?')
  expect(() => decodeConfig(nested, { list: [{}, { deptj: 2 }] })).toThrow('list[1].deptj: unknown key; did you mean "depth"?')
  expect(() => decodeConfig(nested, { list: {} })).toThrow('list: expected a list of tables, got a table')
  expect(() => decodeConfig(nested, { labels: { a: 1 } })).toThrow('labels.a: expected a string, got the number 1')
})

test.each([
  [{ path: 1 }, 'path: expected a string, got the number 1; write path = "1"'],
  [{ delay: 100 }, 'delay: expected a duration such as "100ms", got the number 100; write delay = "100ms" or "100s"'],
  [{ delay: '5 seconds' }, 'delay: expected a duration such as "100ms"'],
  [{ count: 0 }, 'count: must be at least 1, got 0'],
  [{ count: 1.5 }, 'count: expected an integer'],
  [{ names: ['a', 1] }, 'names: expected a list of strings, got a list'],
  [{ names: 'a' }, 'names: expected a list of strings, got the string "a"; write names = ["a"]'],
  [{ count: '5' }, 'count: expected an integer, got the string "5"; write count = 5'],
  [{ policy: 'Shard' }, 'write policy = "shared"'],
  [{ policy: 'open' }, 'policy: expected one of "shared", "isolated"'],
])('configuration %j is refused', (raw, message) => {
  expect(() => decodeConfig(schema, raw)).toThrow(message)
  try {
    decodeConfig(schema, raw)
  } catch (error) {
    expect((error as ConfigError).key).toBe(Object.keys(raw)[0])
  }
})

test.each([
  ['100ms', 100],
  ['1h2m3.5s', 3_723_500],
  ['-2s', -2000],
  ['0', 0],
  ['250us', 0.25],
  ['', undefined],
  ['10', undefined],
])('duration %s', (spelling, ms) => {
  expect(parseDuration(spelling)).toBe(ms)
})

test('durations print as Go would read them', () => {
  for (const ms of [0, 1, 100, 1500, 5000, 60_000, 3_600_000]) expect(parseDuration(formatDuration(ms))).toBe(ms)
})
