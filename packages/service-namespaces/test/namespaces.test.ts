import { background } from '@containerd-ts/interface'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Fixture, openService } from './fixture.js'

const nowhere = background('')
let fixture: Fixture

beforeEach(async () => {
  fixture = await openService()
})

afterEach(() => fixture.close())

it('needs no namespace and knows every name', async () => {
  const { service } = fixture
  // Clients ask for theirs while they connect, before anything is written to it.
  expect(await service.get(nowhere, { name: 'unknown' })).toEqual({ namespace: { name: 'unknown', labels: {} } })
  expect(await service.create(nowhere, { namespace: { name: 'n', labels: { a: 'b', none: '' } } })).toEqual({
    namespace: { name: 'n', labels: { a: 'b', none: '' } },
  })
  expect(await service.update(nowhere, { namespace: { name: 'n', labels: { a: 'c' } }, updateMask: ['labels.a'] })).toEqual({
    namespace: undefined,
  })
  await service.update(nowhere, { namespace: { name: 'm', labels: { x: 'y' } }, updateMask: undefined })
  expect((await service.list(nowhere, { filter: 'ignored' })).namespaces).toEqual([
    { name: 'm', labels: { x: 'y' } },
    { name: 'n', labels: { a: 'c' } },
  ])
  await service.delete(nowhere, { name: 'n' })
  await expect(service.delete(nowhere, { name: 'n' })).rejects.toThrow('namespace "n": not found')
  await expect(service.create(nowhere, { namespace: undefined })).rejects.toMatchObject({ code: 'InvalidArgument' })
})
