import { expect, test } from 'vitest'
import { chainIds, childLabels, isLayerType, parseChildren, parseImageConfig, parseIndex, parseManifest } from '../src/index.js'

const digest = (letter: string) => `sha256:${letter.repeat(64)}`
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('c'), size: 2 }
const layer = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest: digest('a'),
  size: 3,
  annotations: { a: 'b', c: 1 },
}
const bytes = (document: unknown) => Buffer.from(JSON.stringify(document))

test('a manifest has a configuration and layers, an index manifests with platforms, other media types nothing', () => {
  const manifestType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = bytes({ schemaVersion: 2, config, layers: [layer] })
  expect(parseChildren(manifest, { mediaType: manifestType, digest: 'x' })).toEqual([
    { mediaType: config.mediaType, digest: config.digest, sizeBytes: 2, annotations: {} },
    { mediaType: layer.mediaType, digest: layer.digest, sizeBytes: 3, annotations: { a: 'b' } },
  ])
  const entry = { mediaType: manifestType, digest: digest('b'), size: 9, platform: { os: 'linux', architecture: 'aarch64' } }
  const [child] = parseIndex(bytes({ manifests: [entry] }), 'index')
  expect(child).toMatchObject({ digest: digest('b'), platform: { os: 'linux', architecture: 'arm64', variant: '' } })
  // Go writes null for an empty list.
  expect(parseIndex(bytes({ manifests: null }), 'index')).toEqual([])
  expect(parseChildren(manifest, { mediaType: 'text/plain', digest: 'x' })).toEqual([])
})

test.each([
  ['no JSON', Buffer.from('{'), 'no JSON'],
  ['a list', bytes([]), 'no object'],
  ['an index', bytes({ manifests: [] }), 'expected manifest but found index'],
  ['a manifest of schema 1', bytes({ fsLayers: [] }), 'schema 1'],
  ['a traversal for a digest', bytes({ config: { ...config, digest: 'sha256:../../etc' }, layers: [] }), 'config: digest'],
  ['a negative size', bytes({ config: { ...config, size: -1 }, layers: [] }), 'no valid size'],
  ['a fraction for a size', bytes({ config, layers: [{ ...layer, size: 1.5 }] }), 'layer 0: sha256:aaaa'],
  ['no configuration', bytes({ layers: [] }), 'config is no object'],
  ['layers that are no list', bytes({ config, layers: {} }), 'layers is no list'],
])('a manifest that is %s is refused', (_, document, text) => {
  expect(() => parseManifest(document, 'content x')).toThrow(expect.objectContaining({ code: 'InvalidArgument' }))
  expect(() => parseManifest(document, 'content x')).toThrow(text)
})

test('a manifest is no index, whatever its media type says', () => {
  expect(() => parseIndex(bytes({ config, layers: [] }), 'x')).toThrow('expected index but found manifest')
})

test('a configuration says what the image is for and what its layers are', () => {
  expect(
    parseImageConfig(bytes({ os: 'linux', architecture: 'arm', rootfs: { type: 'layers', diff_ids: [digest('d')] } }), 'x'),
  ).toEqual({
    platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    rootfsType: 'layers',
    diffIds: [digest('d')],
  })
  expect(() => parseImageConfig(bytes({ rootfs: { diff_ids: ['sha256:1'] } }), 'x')).toThrow('invalid checksum digest length')
})

test('labels keep children by their kind and number', () => {
  const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digest('b') }
  expect(childLabels([config, layer, layer, manifest, { mediaType: 'x/y', digest: digest('e') }])).toEqual({
    'containerd.io/gc.ref.content.config': digest('c'),
    'containerd.io/gc.ref.content.l.0': digest('a'),
    'containerd.io/gc.ref.content.l.1': digest('a'),
    'containerd.io/gc.ref.content.m.0': digest('b'),
    'containerd.io/gc.ref.content.0': digest('e'),
  })
})

test('layers are told by their media types, also when they are encrypted', () => {
  expect(isLayerType('application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted')).toBe(true)
  expect(isLayerType('application/vnd.docker.image.rootfs.foreign.diff.tar')).toBe(true)
  expect(isLayerType('application/vnd.oci.image.config.v1+json')).toBe(false)
})

// The example of the OCI image specification.
test('chain ids are chained', () => {
  expect(chainIds([])).toEqual([])
  const chain = chainIds([digest('a'), digest('b')])
  expect(chain[0]).toBe(digest('a'))
  expect(chain[1]).toMatch(/^sha256:[0-9a-f]{64}$/)
  expect(chain[1]).not.toBe(digest('b'))
})
