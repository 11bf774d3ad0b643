import { copyFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '@containerd-ts/interface'
import { openLevel } from '@containerd-ts/level-records'
import { ClassicLevel } from 'classic-level'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Database } from '../src/database.js'
import { composeKey, keyBytes } from '../src/key.js'
import { migrate } from '../src/migrations.js'
import { images, leases, namespaces } from '../src/tables.js'

const stamp = { seconds: 1, nanos: 2 }
const tables = [namespaces, leases, images]

let root = ''
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'damage-'))
})
afterEach(() => rm(root, { recursive: true }))

const open = () => Database.open(root, { sync: true }, tables)

/** A database with records in a log of several blocks. */
async function fill(records = 400): Promise<void> {
  const database = await open()
  for (let n = 0; n < records; n++)
    await database.update((tx) => tx.put(leases, ['n', `lease-${n}`], { labels: { text: 'x'.repeat(300) }, createdAt: stamp }), {
      durable: n % 10 === 9,
    })
  await database.close()
}

async function filesOf(ending: string): Promise<string[]> {
  const names = (await readdir(root)).filter((name) => name.endsWith(ending))
  return names.map((name) => join(root, name))
}

async function everything() {
  const database = await open()
  const found = database.list(leases)
  await database.close()
  return found
}

async function refusal(): Promise<Error> {
  const error = await open().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof Error)) throw new Error('the damage was not noticed')
  expect(hasCode(error, 'DataLoss'), error.message).toBe(true)
  expect(error.message).toContain(`metadata database ${root} is damaged: `)
  expect(error.message).toContain('containerd metadata repair')
  return error
}

describe('a damaged database is recognised', () => {
  it('when its log was cut off, though LevelDB takes that for a crash', async () => {
    await fill()
    const [log = ''] = await filesOf('.log')
    const { length } = await readFile(log)
    await truncate(log, Math.floor(length * 0.7))
    expect((await refusal()).message).toMatch(/its latest \d+ batches of changes are missing/)
    // It is refused as long as nobody has repaired it.
    await refusal()
  })

  it('when a part of its log was overwritten, which LevelDB skips', async () => {
    await fill()
    const [log = ''] = await filesOf('.log')
    const bytes = await readFile(log)
    bytes.fill(0xaa, 40_000, 40_500)
    await writeFile(log, bytes)
    expect((await refusal()).message).toMatch(/it has \d+ records of 400/)
  })

  it('when a record in a table file was altered', async () => {
    await fill()
    const whole = await everything()
    // Opening puts the log into a table file.
    await (await open()).close()
    const [table = ''] = await filesOf('.ldb')
    const bytes = await readFile(table)
    let noticed = 0
    for (let position = 3; position < bytes.length; position += Math.ceil(bytes.length / 40)) {
      const altered = Buffer.from(bytes)
      altered.writeUInt8(altered.readUInt8(position) ^ 0x41, position)
      await writeFile(table, altered)
      // Not every byte matters: then nothing may be missing either.
      const found = await everything().catch((error: unknown) => error)
      if (found instanceof Error) noticed++
      else expect(found).toEqual(whole)
    }
    expect(noticed).toBeGreaterThan(20)
    await writeFile(table, bytes)
    expect(await everything()).toEqual(whole)
  })

  it('when files of it are gone', async () => {
    await fill()
    await (await open()).close()
    const [table = ''] = await filesOf('.ldb')
    await copyFile(table, join(root, 'kept'))
    await rm(table)
    await refusal()
    await copyFile(join(root, 'kept'), table)
    await (await open()).close()
    await rm(join(root, 'CURRENT'))
    await refusal()
  })

  it('but not when its mark is older, as after a power failure', async () => {
    await fill(20)
    const mark = await readFile(join(root, 'COMMITS'))
    const database = await open()
    await database.update((tx) => tx.put(namespaces, ['late'], { labels: {} }))
    await database.close()
    await writeFile(join(root, 'COMMITS'), mark)
    const again = await open()
    expect(again.get(namespaces, 'late')).toEqual({ labels: {} })
    await again.close()
  })
})

describe('layouts', () => {
  it('of version 1 are brought up to date', async () => {
    const level = new ClassicLevel<Buffer, Uint8Array>(root, { keyEncoding: 'buffer', valueEncoding: 'view' })
    const old = { labels: { a: 'b' }, createdAt: stamp }
    await level.batch([
      { type: 'put', key: keyBytes(composeKey('schema', 'version')), value: Buffer.from('1') },
      { type: 'put', key: keyBytes(composeKey('schema', 'sequence')), value: Buffer.from('1025') },
      { type: 'put', key: keyBytes(composeKey('lease', 'n', 'l')), value: Buffer.from(JSON.stringify(old)) },
      { type: 'put', key: keyBytes(composeKey('table of tomorrow', 'x')), value: Buffer.from('?') },
    ])
    await level.close()
    for (let round = 0; round < 2; round++) {
      const database = await open()
      expect(database.get(leases, 'n', 'l')).toEqual(old)
      await database.update((tx) => tx.put(namespaces, ['n'], { labels: {} }))
      await database.close()
    }
  })

  it('go forward step by step, and a step that fails changes nothing', async () => {
    const key = (name: string) => keyBytes(composeKey('schema', name))
    const level = await openLevel(root, { name: 'database', advice: '' })
    await level.put(key('version'), Buffer.from('5'))
    const steps = new Map([
      [5, async () => [{ type: 'put' as const, key: key('six'), value: Buffer.from('6') }]],
      [
        6,
        async () => {
          throw new Error('disk full')
        },
      ],
    ])
    await expect(migrate(level, root, steps, 7)).rejects.toThrow('disk full')
    expect(Buffer.from((await level.get(key('version'))) ?? []).toString()).toBe('6')
    expect(await level.get(key('six'))).toBeDefined()
    await expect(migrate(level, root, steps, 5)).rejects.toThrow('has layout 6, this daemon knows up to 5')
    await level.close()
  })
})
