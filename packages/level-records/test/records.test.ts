import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCode } from '@containerd-ts/interface'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  CommitMark,
  checksum,
  type DatabaseState,
  emptyState,
  type Level,
  loadRecords,
  openLevel,
  seal,
  writeRecords,
} from '../src/index.js'

const kind = { name: 'test database', advice: 'do this' }
let path = ''
let level: Level
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'records-'))
  level = await openLevel(path, kind)
})
afterEach(async () => {
  await level.close()
  await rm(path, { recursive: true })
})

function put(name: string, text: string, before?: number) {
  const [key, value] = [Buffer.from(name), Buffer.from(text)]
  const after = checksum(key, value)
  return { key, value: seal(value, after), before, after }
}

async function load(): Promise<{ state: DatabaseState; found: Record<string, string> }> {
  const found: Record<string, string> = {}
  const state = await loadRecords(level, path, kind, {
    onRecord: (key, payload) => {
      found[key.toString()] = Buffer.from(payload).toString()
    },
  })
  return { state, found }
}

async function refusal(): Promise<string> {
  const error = await load().then(
    () => 'nothing',
    (reason: unknown) => reason,
  )
  expect(hasCode(error, 'DataLoss'), String(error)).toBe(true)
  return String(error)
}

describe('records', () => {
  it('come back as they were written, replaced or deleted', async () => {
    const [a, b] = [put('a', '1'), put('b', '2')]
    let state = await writeRecords(level, emptyState, [a, b], { sync: true })
    state = await writeRecords(
      level,
      state,
      [put('a', '3', a.after), { ...b, value: undefined, before: b.after, after: undefined }],
      {
        sync: true,
      },
    )
    expect(await load()).toEqual({ state, found: { a: '3' } })
    expect(state).toMatchObject({ commits: 2, records: 1 })
  })

  it('that were altered, lost or brought back behind the back are noticed', async () => {
    const [a, b] = [put('a', '1'), put('b', '2')]
    const state = await writeRecords(level, emptyState, [a, b], { sync: true })
    const altered = Buffer.from(a.value)
    altered.writeUInt8(altered.readUInt8(0) ^ 1, 0)
    await level.put(a.key, altered)
    expect(await refusal()).toContain(
      `test database ${path} is damaged: the record of a cannot be read: its checksum does not match`,
    )
    await level.del(a.key)
    expect(await refusal()).toContain('it has 1 records of 2. It is left as it is: do this')
    await level.put(a.key, put('a', 'another').value)
    expect(await refusal()).toContain('some of its records are not the latest ones')
    await level.put(a.key, a.value)
    expect((await load()).state).toEqual(state)
  })

  it('are compared with the mark of what was acknowledged', async () => {
    const state = await writeRecords(level, emptyState, [put('a', '1')], { sync: true })
    const mark = CommitMark.open(path)
    mark.write(state.commits)
    await load()
    mark.write(state.commits + 2)
    expect(await refusal()).toContain('its latest 2 batches of changes are missing')
    mark.write(state.commits)
    mark.close()
    // A mark that cannot be read says nothing.
    const whole = await readFile(CommitMark.path(path))
    await truncate(CommitMark.path(path), 5)
    expect(CommitMark.read(path)).toBe(0)
    await writeFile(CommitMark.path(path), whole)
    await appendFile(CommitMark.path(path), 'more')
    expect(CommitMark.read(path)).toBe(state.commits)
  })
})

it('a database that somebody has open is not available', async () => {
  const error = await openLevel(path, kind).catch((reason: unknown) => reason)
  expect(hasCode(error, 'Unavailable')).toBe(true)
  expect(String(error)).toContain(`test database ${path} is in use by another process`)
})
