import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSnapshotStorage, removeOrphans, type SnapshotStorage } from '../src/index.js'

let dir: string
let storage: SnapshotStorage
const usage = { inodes: 1, sizeBytes: 4096 }
const nothing = async () => {}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'snapshot-storage-'))
  storage = await openSnapshotStorage(join(dir, 'db'))
})
afterEach(async () => {
  await storage.close()
  await rm(dir, { recursive: true })
})

const active = (key: string, parent = '') => storage.create({ kind: 'active', key, parent }, nothing)
const layer = async (name: string, parent = '') => {
  await active(`${name} active`, parent)
  return storage.commit(`${name} active`, name, { usage })
}
const reopen = async () => {
  await storage.close()
  storage = await openSnapshotStorage(join(dir, 'db'))
}

test('a chain of layers survives a restart, and ids are never given out again', async () => {
  const base = await layer('base')
  const top = await layer('top', 'base')
  await active('removed')
  await storage.remove('removed')
  await reopen()
  const container = await active('container', 'top')
  expect(storage.parents(container).map(({ id }) => id)).toEqual([top.id, base.id])
  expect(container.id).toBe(4)
  expect(storage.get('base')).toMatchObject({ kind: 'committed', usage, createdAt: base.createdAt, updatedAt: base.createdAt })
})

test('the state machine refuses what containerd refuses', async () => {
  await layer('base')
  await active('a', 'base')
  await expect(active('')).rejects.toMatchObject({ code: 'InvalidArgument' })
  await expect(active('a')).rejects.toMatchObject({ code: 'AlreadyExists' })
  await expect(active('b', 'none')).rejects.toMatchObject({ code: 'NotFound' })
  await expect(active('b', 'a')).rejects.toMatchObject({
    code: 'InvalidArgument',
    message: expect.stringContaining('is not committed snapshot'),
  })
  await expect(storage.commit('none', 'x', { usage })).rejects.toMatchObject({ code: 'NotFound' })
  await expect(storage.commit('base', 'x', { usage })).rejects.toMatchObject({ code: 'FailedPrecondition' })
  await expect(storage.commit('a', 'base', { usage })).rejects.toMatchObject({ code: 'AlreadyExists' })
  await layer('other')
  await expect(storage.commit('a', 'x', { usage, parent: 'other' })).rejects.toMatchObject({ code: 'InvalidArgument' })
  await expect(storage.remove('base')).rejects.toMatchObject({
    code: 'FailedPrecondition',
    message: expect.stringContaining('remove'),
  })
  await storage.remove('a')
  await storage.remove('base')
  await storage.create({ kind: 'view', key: 'v', parent: 'other' }, nothing)
  await expect(storage.commit('v', 'x', { usage })).rejects.toMatchObject({ code: 'FailedPrecondition' })
})

test('a snapshot whose directory cannot be made leaves no trace', async () => {
  await layer('base')
  const failed = storage.create({ kind: 'active', key: 'a', parent: 'base' }, () => Promise.reject(new Error('disk full')))
  await expect(storage.remove('base')).rejects.toMatchObject({ code: 'FailedPrecondition' })
  await expect(failed).rejects.toThrow('disk full')
  expect(storage.kindOf(2)).toBeUndefined()
  await active('a', 'base')
  expect(storage.list([]).map(({ key }) => key)).toEqual(['a', 'base'])
})

test('the same key twice at once is made once', async () => {
  const results = await Promise.allSettled([active('same'), active('same'), active('same')])
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected', 'rejected'])
})

test('a parent given at commit counts', async () => {
  await layer('base')
  await active('a')
  expect(await storage.commit('a', 'top', { usage, parent: 'base' })).toMatchObject({ parent: 'base' })
  await expect(storage.remove('base')).rejects.toMatchObject({ code: 'FailedPrecondition' })
})

test('labels and filters', async () => {
  await storage.create({ kind: 'active', key: 'a', parent: '', labels: { x: '1', empty: '' } }, nothing)
  await layer('base')
  const updated = await storage.update('a', { x: '', y: '2' }, ['labels.x', 'labels.y'])
  expect(updated.labels).toEqual({ y: '2' })
  await expect(storage.update('a', {}, ['parent'])).rejects.toMatchObject({ code: 'InvalidArgument' })
  const found = (...filters: string[]) => storage.list(filters).map(({ key }) => key)
  expect(found('kind==active')).toEqual(['a'])
  expect(found('name==a', 'name==base')).toEqual(['a', 'base'])
  expect(found('labels.y==2')).toEqual(['a'])
  expect(found('parent!=""')).toEqual([])
})

test('a directory outlives its record, so that a crash leaves no record without a directory', async () => {
  const { id } = await active('a')
  const removal = storage.remove('a')
  expect(storage.kindOf(id)).toBe('active')
  await removal
  expect(storage.kindOf(id)).toBeUndefined()
})

test('orphans go, live directories stay', async () => {
  const { id } = await active('a')
  const trees = join(dir, 'trees')
  for (const name of [String(id), '99', `new-${id}`, '01']) await mkdir(join(trees, name, 'fs'), { recursive: true })
  const owns = (other: number) => storage.kindOf(other) !== undefined
  expect((await removeOrphans(trees, owns, (path) => rm(path, { recursive: true }))).sort()).toEqual(['01', '99', `new-${id}`])
  expect(await readdir(trees)).toEqual([String(id)])
})
