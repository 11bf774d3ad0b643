import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createContentStore } from '@containerd-ts/content-local/store'
import { createExchange } from '@containerd-ts/events-exchange/exchange'
import { background, hasCode, isNotFound } from '@containerd-ts/interface'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it, vi } from 'vitest'
import { Database } from '../src/database.js'
import { createMetadataStore } from '../src/store.js'
import { schema } from '../src/tables.js'

const script = fileURLToPath(new URL('writes-until-killed.mjs', import.meta.url))
const ctx = background('n')

/** Runs the script until it has said `count` lines, kills it, and gives back everything it has said. */
async function acknowledged(root: string, count: number): Promise<string[][]> {
  const child = spawn(process.execPath, [script, root], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines: string[][] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line.split(' '))
    if (lines.length === count) child.kill('SIGKILL')
  }
  expect((await exited)[1]).toBe('SIGKILL')
  return lines
}

describe('a daemon that is killed', () => {
  it('has kept everything it acknowledged, and can go on', async () => {
    const root = await mkdtemp(join(tmpdir(), 'killed-'))
    for (const count of [2, 150, 400]) {
      const said = await acknowledged(root, count)
      const content = await createContentStore({ root: join(root, 'content') })
      const metadata = await createMetadataStore({
        path: join(root, 'meta'),
        content,
        snapshotters: new Map(),
        events: createExchange(),
      })
      for (const [what, id = '', name] of said) {
        if (what === 'blob') {
          expect((await metadata.content.info(ctx, id)).labels).toEqual({ name })
          await (await metadata.content.reader(ctx, id)).close()
        }
        if (what === 'made') {
          // The deletion of every third may be done, and killed before it was said.
          const mayBeGone = Number(id.split('-')[1]) % 3 === 0
          await metadata.containers.get(ctx, id).catch((error) => expect(mayBeGone && isNotFound(error), id).toBe(true))
        }
        if (what === 'deleted') await expect(metadata.containers.get(ctx, id)).rejects.toThrow('not found')
      }
      // The unfinished write goes on where it was.
      const writer = await metadata.content.writer(ctx, { ref: 'partial', total: 100_000 })
      expect([writer.status().offset, writer.status().total]).toEqual([12_345, 100_000])
      await writer.close()
      await metadata.content.abort(ctx, 'partial')
      // Whatever was under way when the daemon died is garbage.
      for await (const { digest } of metadata.content.walk(ctx, [])) await metadata.content.delete(ctx, digest)
      for await (const { id } of metadata.containers.list(ctx, [])) await metadata.containers.delete(ctx, id)
      for (const { ref } of await metadata.content.listStatuses(ctx, [])) await metadata.content.abort(ctx, ref)
      await metadata.collectGarbage(ctx.signal)
      for await (const info of content.walk(ctx, [])) expect(info).toBeUndefined()
      expect(await content.listStatuses(ctx, [])).toEqual([])
      await metadata.close()
      await content.close()
    }
    await rm(root, { recursive: true })
  })
})

describe('the database', () => {
  it('is refused to a second process, and when a newer version wrote it', async () => {
    const root = await mkdtemp(join(tmpdir(), 'database-'))
    const first = await Database.open(root, { sync: true }, [])
    const error = await Database.open(root, { sync: true }, []).catch((reason: unknown) => reason)
    expect(hasCode(error, 'Unavailable')).toBe(true)
    expect(String(error)).toContain(`metadata database ${root} is in use by another process`)
    await first.close()
    const level = new ClassicLevel(root)
    await level.put(Buffer.from('schema\0version\0').toString(), '99')
    await level.close()
    await expect(Database.open(root, { sync: true }, [])).rejects.toThrow(/has layout 99, this daemon knows up to 2/)
    await rm(root, { recursive: true })
  })

  it('lets transactions see those before them, readers what is on disk, and writes nothing of one that throws', async () => {
    const root = await mkdtemp(join(tmpdir(), 'database-'))
    const database = await Database.open(root, { sync: true }, [])
    const get = () => database.get(schema, 'x')
    const first = database.update((tx) => {
      tx.put(schema, ['x'], 1)
      return tx.get(schema, 'x')
    })
    const failed = expect(
      database.update((tx) => {
        tx.put(schema, ['x'], 5)
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    const second = database.update((tx) => {
      const before = tx.get(schema, 'x')
      tx.put(schema, ['x'], 2)
      tx.put(schema, ['y'], 3)
      return [before, tx.list(schema).map(({ id: [id], record }) => `${id}=${record}`)]
    })
    expect(get()).toBeUndefined()
    expect(await first).toBe(1)
    await failed
    expect(await second).toEqual([1, ['x=2', 'y=3']])
    expect(get()).toBe(2)
    await database.update((tx) => tx.delete(schema, 'x'))
    expect(get()).toBeUndefined()
    await database.close()
    await expect(database.update(() => {})).rejects.toThrow('closed')
    const again = await Database.open(root, { sync: true }, [])
    expect(again.list(schema).map(({ id: [id] }) => id)).toEqual(['y'])
    await again.close()
    await rm(root, { recursive: true })
  })

  it('fails what it could not write and whatever built on that, and goes on', async () => {
    const root = await mkdtemp(join(tmpdir(), 'database-'))
    const database = await Database.open(root, { sync: true }, [])
    await database.update((tx) => tx.put(schema, ['x'], 1))
    const batch = vi.spyOn(ClassicLevel.prototype, 'batch').mockImplementationOnce(() => {
      throw new Error('no space left')
    })
    const increment = () =>
      database.update((tx) => {
        const next = (tx.get(schema, 'x') ?? 0) + 1
        tx.put(schema, ['x'], next)
        return next
      })
    const outcomes = await Promise.allSettled([increment(), increment()])
    batch.mockRestore()
    for (const outcome of outcomes) {
      expect(outcome.status === 'rejected' && String(outcome.reason)).toContain(
        'cannot write metadata: no space left: unavailable',
      )
    }
    expect(database.get(schema, 'x')).toBe(1)
    expect(await increment()).toBe(2)
    await database.close()
    await rm(root, { recursive: true })
  })
})
