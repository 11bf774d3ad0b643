import { background, isNotFound } from '@containerd-ts/interface'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const ctx = background('n')
let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

it('makes, fills, lists and deletes leases', async () => {
  const { service } = fixture
  const { lease } = await service.create(ctx, { id: 'l', labels: { a: 'b' } })
  expect(lease).toMatchObject({ id: 'l', labels: { a: 'b' } })
  expect((await service.create(ctx, { id: '', labels: {} })).lease?.id).toMatch(/^\d{1,9}-[\w-]{4}$/)
  expect((await service.list(ctx, { filters: ['id==l'] })).leases).toEqual([lease])
  const resource = { id: 'some/image', type: 'images' }
  await service.addResource(ctx, { id: 'l', resource })
  expect((await service.listResources(ctx, { id: 'l' })).resources).toEqual([resource])
  await service.deleteResource(ctx, { id: 'l', resource })
  expect((await service.listResources(ctx, { id: 'l' })).resources).toEqual([])
  await expect(service.addResource(ctx, { id: 'l', resource: undefined })).rejects.toMatchObject({ code: 'InvalidArgument' })
  await expect(service.delete(background(''), { id: 'l', sync: false })).rejects.toMatchObject({ code: 'FailedPrecondition' })
})

it('answers a synchronous deletion when what the lease kept is gone', async () => {
  const { service, metadata } = fixture
  await service.create(ctx, { id: 'l', labels: {} })
  const leased = background('n', { lease: 'l' })
  const writer = await metadata.content.writer(leased, { ref: 'r' })
  await writer.write(Buffer.from('abc'))
  const { digest } = await writer.commit(leased, {})
  await metadata.collectGarbage(ctx.signal)
  await metadata.content.info(ctx, digest)
  await service.delete(ctx, { id: 'l', sync: true })
  expect(isNotFound(await metadata.content.info(ctx, digest).catch((error: unknown) => error))).toBe(true)
})
