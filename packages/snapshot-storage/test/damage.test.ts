import { mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCode, isUnavailable } from '@containerd-ts/interface'
import { ClassicLevel } from 'classic-level'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openSnapshotStorage, type SnapshotStorage } from '../src/index.js'

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'snapshot-damage-'))
})
afterEach(() => rm(dir, { recursive: true }))

const make = (storage: SnapshotStorage, key: string) => storage.create({ kind: 'active', key, parent: '' }, async () => {})
const keys = (storage: SnapshotStorage) => storage.list([]).map(({ key }) => key)
const failure = (operation: Promise<unknown>) =>
  operation.then(
    () => undefined,
    (error: unknown) => error,
  )

it('a database that was cut off is refused, so that no directory is taken for an orphan', async () => {
  const storage = await openSnapshotStorage(dir)
  for (let n = 0; n < 50; n++) await make(storage, `snapshot ${n}`)
  await storage.close()
  const [log = ''] = (await readdir(dir)).filter((name) => name.endsWith('.log'))
  await truncate(join(dir, log), Math.floor((await readFile(join(dir, log))).length / 2))
  for (let time = 0; time < 2; time++) {
    const error = await failure(openSnapshotStorage(dir))
    expect(hasCode(error, 'DataLoss'), String(error)).toBe(true)
    expect(String(error)).toMatch(/snapshot database .* is damaged: its latest \d+ batches of changes are missing/)
  }
})

it('a write that failed, whether or not it reached the disk, leaves what was there, and others go on', async () => {
  const storage = await openSnapshotStorage(dir)
  await make(storage, 'a')
  for (const reached of [true, false]) {
    const batch = ClassicLevel.prototype.batch
    const broken = vi.spyOn(ClassicLevel.prototype, 'batch').mockImplementationOnce(function (this: ClassicLevel) {
      const made = Reflect.apply(batch, this, [])
      const write = made.write.bind(made)
      return Object.assign(made, {
        write: async (options: { sync: boolean }) => {
          if (reached) await write(options)
          throw new Error('no space left')
        },
      })
    } as unknown as typeof batch)
    expect(isUnavailable(await failure(make(storage, 'lost')))).toBe(true)
    broken.mockRestore()
    expect(keys(storage)).toEqual(['a', ...(reached ? [] : ['after'])])
    if (reached) await make(storage, 'after')
  }
  await make(storage, 'z')
  await storage.close()
  const again = await openSnapshotStorage(dir)
  expect(keys(again)).toEqual(['a', 'after', 'z'])
  await again.close()
})

it('a database without checksums gets them', async () => {
  const level = new ClassicLevel(dir)
  const stamp = { seconds: 1, nanos: 0 }
  const old = { id: 3, kind: 'active', key: 'old', parent: '', labels: {}, createdAt: stamp, updatedAt: stamp }
  await level.batch([
    { type: 'put', key: 'id', value: '64' },
    { type: 'put', key: 'snapshot/old', value: JSON.stringify(old) },
  ])
  await level.close()
  for (let time = 0; time < 2; time++) {
    const storage = await openSnapshotStorage(dir)
    expect(keys(storage)).toContain('old')
    expect((await make(storage, `new ${time}`)).id).toBeGreaterThan(64)
    await storage.close()
  }
})
