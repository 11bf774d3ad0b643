import { Container } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import { background } from '@containerd-ts/interface'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const ctx = background('n')
let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

it('carries every field of a container there and back', async () => {
  const { service } = fixture
  const container = Container.fromPartial({
    id: 'c',
    labels: { a: 'b' },
    image: 'i',
    runtime: { name: 'r', options: { typeUrl: 'o', value: Buffer.from([1]) } },
    spec: { typeUrl: 's', value: Buffer.from([0, 255]) },
    snapshotter: 'native',
    snapshotKey: 'k',
    extensions: { 'x/y': { typeUrl: 'e', value: Buffer.from('not proto') } },
    sandbox: 'sb',
  })
  const { container: created } = await service.create(ctx, { container })
  if (created === undefined) throw new Error('no container')
  // As it is on the wire, where kinds of byte arrays make no difference.
  const encoded = (it: Container) => Buffer.from(Container.encode(it).finish())
  const { createdAt, updatedAt } = created
  expect(encoded(created)).toEqual(encoded({ ...container, createdAt, updatedAt }))
  for (const read of [
    (await service.get(ctx, { id: 'c' })).container,
    ...(await service.list(ctx, { filters: ['id==c'] })).containers,
  ]) {
    expect(encoded(read ?? container)).toEqual(encoded(created))
  }
  const updated = await service.update(ctx, {
    container: { ...container, labels: { a: 'x', no: 'no' } },
    updateMask: ['labels.a'],
  })
  expect(updated.container?.labels).toEqual({ a: 'x' })
  await service.delete(ctx, { id: 'c' })
  await expect(service.get(ctx, { id: 'c' })).rejects.toThrow('container "c" in namespace "n": not found')
})

it('streams one container a message', async () => {
  const { service } = fixture
  expect(await all(service.listStream(ctx, { filters: [] }))).toEqual([])
  for (const id of ['b', 'a']) await service.create(ctx, { container: Container.fromPartial({ id, runtime: { name: 'r' } }) })
  const messages = await all(service.listStream(ctx, { filters: [] }))
  expect(messages.map(({ container }) => container?.id)).toEqual(['a', 'b'])
})

it('wants an id before a namespace when it updates', async () => {
  const { service } = fixture
  const nowhere = background('')
  await expect(service.update(nowhere, { container: Container.fromPartial({}), updateMask: [] })).rejects.toThrow(
    /^Container.ID required: invalid argument$/,
  )
  await expect(service.get(nowhere, { id: 'c' })).rejects.toThrow('namespace is required: failed precondition')
  await expect(service.create(ctx, { container: undefined })).rejects.toMatchObject({ code: 'InvalidArgument' })
})
