import { expect, test } from 'vitest'
import { chainIds, type ImageConfig, ociSpec } from '../src/index.js'

test('the chain id of several layers hashes the one below and its own', () => {
  const [a, b] = [`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`]
  expect(chainIds([])).toEqual([])
  expect(chainIds([a])).toEqual([a])
  // printf '%s %s' $a $b | sha256sum
  expect(chainIds([a, b])).toEqual([a, 'sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c'])
})

const image: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  config: { Env: ['PATH=/bin'], Entrypoint: ['/entry'], Cmd: ['arg'], WorkingDir: '/work' },
  rootfs: { diff_ids: [] },
}

test('a process is what the image says, unless told otherwise', () => {
  expect(ociSpec(image, { cgroupsPath: '/ns/id' })).toMatchObject({
    process: { args: ['/entry', 'arg'], env: ['PATH=/bin'], cwd: '/work', terminal: false },
    linux: { cgroupsPath: '/ns/id' },
  })
  expect(ociSpec(image, { cgroupsPath: '/ns/id', args: ['sh'], env: ['A=b'], terminal: true, cwd: '/' })).toMatchObject({
    process: { args: ['sh'], env: ['PATH=/bin', 'A=b', 'TERM=xterm'], cwd: '/', terminal: true },
  })
})
