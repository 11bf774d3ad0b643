import { expect, test } from 'vitest'
import { layerCompression } from '../src/media-types.js'

const docker = 'application/vnd.docker.image.rootfs'
const oci = 'application/vnd.oci.image.layer'

test.each([
  [`${docker}.diff.tar.gzip`, 'detect'],
  [`${docker}.diff.tar.zstd`, 'detect'],
  // Has been used for compressed layers too.
  [`${docker}.diff.tar`, 'detect'],
  [`${docker}.foreign.diff.tar.gzip`, 'detect'],
  [`${docker}.diff.tar.gzip+encrypted`, 'none'],
  [`${oci}.v1.tar`, 'none'],
  [`${oci}.v1.tar+gzip`, 'detect'],
  [`${oci}.v1.tar+zstd`, 'detect'],
  [`${oci}.nondistributable.v1.tar+gzip`, 'detect'],
  [`${oci}.v1.tar+encrypted`, 'none'],
  ['application/vnd.oci.image.manifest.v1+json', undefined],
])('%s', (mediaType, compression) => {
  expect(layerCompression(mediaType)).toBe(compression)
})
