import { mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { closeAll, lockFile, systemError } from '../src/index.js'

test('a number with two names has the one that Node gives it', () => {
  expect(systemError(95, 'fgetxattr')).toMatchObject({ code: 'ENOTSUP', errno: -95, message: 'ENOTSUP: fgetxattr' })
  expect(systemError(61, 'fgetxattr').code).toBe('ENODATA')
})

test('a lock that is taken says so, and is free when its descriptor is closed', () => {
  const dir = mkdtempSync(`${tmpdir()}/lock-`)
  const [first, second] = [openSync(dir, 'r'), openSync(dir, 'r')]
  lockFile(first)
  expect(() => lockFile(second)).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
  closeAll([first])
  lockFile(second)
  closeAll([second])
  rmSync(dir, { recursive: true })
})
