import { expect, test } from 'vitest'
import { mermaid } from '../src/plugin-graph/mermaid.js'
import { graphOf } from '../src/plugin-graph/model.js'
import { svg } from '../src/plugin-graph/svg.js'

const plugin = (type: string, id: string, requires: string[] = [], error?: string) => ({
  type,
  id,
  requires,
  platforms: [],
  exports: {},
  capabilities: [],
  initErr: error === undefined ? undefined : { code: 2, message: error, details: [] },
})

const nodes = graphOf([
  plugin('io.containerd.content.v1', 'content'),
  plugin('io.containerd.metadata.v1', 'level', ['io.containerd.content.v1', 'io.containerd.snapshotter.v1']),
  plugin('io.containerd.snapshotter.v1', 'broken', [], 'no <kernel> "support"'),
  plugin('io.containerd.snapshotter.v1', 'absent', [], 'no zfs here: skip plugin'),
  plugin('io.containerd.server.v1', 'grpc', ['*']),
])

test('requirements of types become edges between plugins', () => {
  expect(nodes.map(({ id, state, needs, neededBy }) => ({ id, state, needs, neededBy }))).toEqual([
    { id: 'content', state: 'ok', needs: [], neededBy: ['io.containerd.metadata.v1.level'] },
    {
      id: 'level',
      state: 'ok',
      needs: ['io.containerd.content.v1.content', 'io.containerd.snapshotter.v1.broken', 'io.containerd.snapshotter.v1.absent'],
      neededBy: [],
    },
    { id: 'broken', state: 'error', needs: [], neededBy: ['io.containerd.metadata.v1.level'] },
    { id: 'absent', state: 'skip', needs: [], neededBy: ['io.containerd.metadata.v1.level'] },
    { id: 'grpc', state: 'ok', needs: [], neededBy: [] },
  ])
})

test('mermaid has a box for each plugin and an arrow for each edge', () => {
  const lines = mermaid(nodes).split('\n')
  expect(lines[0]).toBe('flowchart LR')
  expect(lines).toContain('  p1["level<br/>metadata.v1"]:::ok')
  expect(lines.filter((line) => line.includes('-->'))).toEqual(['  p1 --> p0', '  p1 --> p2', '  p1 --> p3'])
})

test('svg puts what is required to the left and escapes what plugins say', () => {
  const drawing = svg(nodes)
  const x = (id: string) => Number(new RegExp(`<text x="(\\d+)"[^>]*>${id}<`).exec(drawing)?.[1])
  expect(x('content')).toBeLessThan(x('level'))
  expect(x('broken')).toBeLessThan(x('level'))
  expect(drawing).toContain('no &lt;kernel&gt; &quot;support&quot;')
  expect(drawing.match(/<rect /g)).toHaveLength(5)
  expect(drawing.match(/marker-end/g)).toHaveLength(3)
})

test('plugins that require each other do not stop the drawing', () => {
  const circle = graphOf([plugin('a', 'x', ['b']), plugin('b', 'y', ['a'])])
  expect(svg(circle).match(/<rect /g)).toHaveLength(2)
})
