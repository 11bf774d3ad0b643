import { background, type Differ, FailedPreconditionError, UnimplementedError } from '@containerd-ts/interface'
import { type AnyRegistration, load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { diffGrpcService, diffService } from '../src/index.js'

const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: 'sha256:1', size: 5, annotations: {} }
const asked: string[] = []

function differ(id: string, apply: Differ['apply']): AnyRegistration {
  const instance: Differ = {
    apply: (...args) => {
      asked.push(id)
      return apply(...args)
    },
    compare: () => Promise.reject(new UnimplementedError('compare')),
  }
  return { type: PluginType.Differ, id, init: () => instance }
}

async function call(differs: readonly AnyRegistration[], method: string, request: unknown, namespace = 'ns') {
  asked.length = 0
  const config = { 'io.containerd.service.v1.diff-service': { default: differs.map((d) => d.id) } }
  const set = await load([...differs, diffService, diffGrpcService], { root: '/r', state: '/s', log: silentLogger, config })
  return set.get(PluginType.GRPC).services[0]?.handlers[method]?.(background(namespace), request)
}

const refuses = differ('first', () => Promise.reject(new UnimplementedError('that media type')))
const applies = differ('second', (_ctx, descriptor) => Promise.resolve({ ...descriptor, digest: 'sha256:2' }))
const fails = differ('third', () => Promise.reject(new FailedPreconditionError('broken layer')))

test('a differ that does not know a layer passes on to the next', async () => {
  expect(await call([refuses, applies, fails], 'apply', { diff: layer, mounts: [], payloads: {}, syncFs: false })).toEqual({
    applied: { ...layer, digest: 'sha256:2' },
  })
  expect(asked).toEqual(['first', 'second'])
})

test('any other failure is final', async () => {
  await expect(call([fails, applies], 'apply', { diff: layer, mounts: [], payloads: {}, syncFs: false })).rejects.toThrow(
    'broken layer',
  )
  expect(asked).toEqual(['third'])
})

test('bad requests are refused before a differ is asked', async () => {
  await expect(call([applies], 'apply', { diff: undefined, mounts: [], payloads: {} })).rejects.toMatchObject({
    code: 'InvalidArgument',
  })
  await expect(call([applies], 'apply', { diff: layer, mounts: [], payloads: {} }, '')).rejects.toMatchObject({
    code: 'FailedPrecondition',
  })
  expect(asked).toEqual([])
})
