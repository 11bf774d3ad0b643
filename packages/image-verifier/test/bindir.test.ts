import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { background } from '@containerd-ts/interface'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type BinDirOptions, createBinDirVerifier } from '../src/bindir.js'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'verifiers-'))
  await mkdir(join(dir, 'bin'))
})
afterEach(() => rm(dir, { recursive: true }))

const descriptor = { mediaType: 'application/vnd.oci.image.index.v1+json', digest: 'sha256:abc', sizeBytes: 7, annotations: {} }

async function program(name: string, script: string) {
  const path = join(dir, 'bin', name)
  await writeFile(path, `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
}

function verify(options: Partial<BinDirOptions> = {}, ctx = background('ns')) {
  const verifier = createBinDirVerifier({ binDir: join(dir, 'bin'), maxVerifiers: -1, timeoutMs: 20_000, ...options })
  return verifier.verify(ctx, 'host/name:tag', descriptor)
}

test('without programs every image may be pulled', async () => {
  expect(await verify()).toEqual({ ok: true, reason: `no image verifier binaries found in ${dir}/bin` })
  expect(await verify({ binDir: join(dir, 'none') })).toMatchObject({ ok: true })
  await expect(verify({ binDir: '/proc/self/status' })).rejects.toThrow('ENOTDIR')
})

test('all are asked in turn, are told of the image, and must agree', async () => {
  await program('b', `echo second`)
  await program('a', `echo "$@" > ${dir}/args; cat > ${dir}/stdin; echo first; echo noise >&2`)
  expect(await verify()).toEqual({ ok: true, reason: 'a => first, b => second' })
  expect(await readFile(join(dir, 'args'), 'utf8')).toBe(
    '-name host/name:tag -digest sha256:abc -stdin-media-type application/vnd.oci.descriptor.v1+json\n',
  )
  expect(JSON.parse(await readFile(join(dir, 'stdin'), 'utf8'))).toEqual({
    mediaType: descriptor.mediaType,
    digest: 'sha256:abc',
    size: 7,
  })
  await program('aa', 'echo not signed; exit 3')
  await program('b', `touch ${dir}/asked`)
  expect(await verify()).toEqual({ ok: false, reason: 'verifier aa rejected image (exit code 3): not signed' })
  await expect(readFile(join(dir, 'asked'))).rejects.toThrow('ENOENT')
  expect(await verify({ maxVerifiers: 1 })).toMatchObject({ ok: true, reason: 'a => first' })
})

test('one that writes much, reads nothing or leaves a child behind is not waited for', async () => {
  await program('a', 'yes | head -c 300000; yes | head -c 300000 >&2; sleep 300 &')
  const { ok, reason } = await verify()
  expect(ok).toBe(true)
  expect(reason.length).toBeLessThan(33_000)
  expect(reason).toContain('(truncated)')
})

test('one that cannot be run, takes too long or is killed has not agreed', async () => {
  await program('a', 'sleep 300')
  await expect(verify({ timeoutMs: 200 })).rejects.toThrow('took longer than 200 ms')
  await program('a', 'kill -9 $$')
  await expect(verify()).rejects.toThrow('was killed by SIGKILL')
  await writeFile(join(dir, 'bin/a'), 'no program')
  await chmod(join(dir, 'bin/a'), 0o644)
  await expect(verify()).rejects.toThrow('EACCES')
})

test('who gives up does not wait for it', async () => {
  await program('a', `echo $$ > ${dir}/pid; sleep 300`)
  const controller = new AbortController()
  const verifying = verify({}, background('ns', { signal: controller.signal }))
  verifying.catch(() => {})
  await expect.poll(() => readFile(join(dir, 'pid'), 'utf8').catch(() => '')).toMatch(/\d/)
  controller.abort(new Error('enough'))
  await expect(verifying).rejects.toThrow('enough')
  const pid = Number(await readFile(join(dir, 'pid'), 'utf8'))
  await expect.poll(() => isAlive(pid)).toBe(false)
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
