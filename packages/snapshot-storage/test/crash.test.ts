import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { openSnapshotStorage } from '../src/index.js'

// The writer tells of every snapshot that it was told is kept.
const writer = (directory: string) => `
  import { openSnapshotStorage } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)}
  const storage = await openSnapshotStorage(${JSON.stringify(directory)})
  async function work(name) {
    for (let i = 0; ; i++) {
      await storage.create({ kind: 'active', key: name + i, parent: '' }, async () => {})
      await storage.commit(name + i, name + i + '-committed', { usage: { inodes: 1, sizeBytes: 1 } })
      process.stdout.write(name + i + '-committed\\n')
    }
  }
  await Promise.all(['a', 'b', 'c', 'd'].map(work))
`

test('what was acknowledged survives kill -9', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'snapshot-crash-'))
  try {
    const acknowledged: string[] = []
    for (let round = 0; round < 5; round++) {
      const directory = join(dir, String(round))
      const child = spawn(process.execPath, ['--input-type=module', '-e', writer(directory)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      acknowledged.length = 0
      for await (const line of createInterface({ input: child.stdout })) {
        acknowledged.push(line)
        if (acknowledged.length === 20 + round * 30) child.kill('SIGKILL')
      }
      const storage = await openSnapshotStorage(directory)
      for (const name of acknowledged) expect(storage.get(name).kind).toBe('committed')
      await storage.close()
    }
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('an id that named a directory before kill -9 is not given out again', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'snapshot-ids-'))
  try {
    const script = `
      import { openSnapshotStorage } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)}
      const storage = await openSnapshotStorage(${JSON.stringify(dir)})
      await storage.create({ kind: 'active', key: 'a', parent: '' }, ({ id }) => new Promise(() => {
        process.stdout.write(id + '\\n')
        setInterval(() => {}, 1000)
      }))`
    const used: number[] = []
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      for await (const line of createInterface({ input: child.stdout })) {
        used.push(Number(line))
        child.kill('SIGKILL')
      }
    }
    expect(new Set(used).size).toBe(3)
    const storage = await openSnapshotStorage(dir)
    expect(storage.list([])).toEqual([])
    await storage.close()
  } finally {
    await rm(dir, { recursive: true })
  }
})
