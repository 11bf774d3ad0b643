import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getXattr, setXattr } from '@containerd-ts/linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { copyTree } from '../../src/copy-tree.js'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'copy-tree-'))
})
afterEach(() => rm(dir, { recursive: true }))

const sh = (script: string) => execFileSync('sh', ['-ec', script], { cwd: dir, encoding: 'utf8' })
// Everything that stat can tell of every file, and where the links lead.
const listing = (tree: string) =>
  sh(
    `cd ${tree} && find . -exec stat -c '%n %F %a %u %g %h %t:%T %y %s' {} + | grep -v ' directory ' | sort; find . -type d -exec stat -c '%n %a %u %g %y' {} + | sort; find . -type l -printf '%p %l\\n' | sort`,
  )

describe.runIf(process.getuid?.() === 0)('copyTree (needs root for owners and devices)', () => {
  test('the copy is the same, attribute for attribute', async () => {
    sh(`mkdir -p from/a/b to; cd from
      echo data > a/file; ln a/file a/b/hardlink; ln -s ../nowhere a/symlink; mkfifo a/fifo; mknod a/null c 1 3; mknod a/disk b 7 300
      chmod 4755 a/file; chown 1:2 a/b; chmod 1777 a/b; chown -h 3:4 a/symlink; truncate -s 1M a/sparse
      touch -d '1999-12-31 23:59:59.123456789' a/file a/b; touch -h -d '2001-02-03 04:05:06.000000007' a/symlink`)
    setXattr(join(dir, 'from/a/file'), 'user.colour', Buffer.from('green'))
    setXattr(join(dir, 'from/a'), 'trusted.overlay.opaque', Buffer.from('y'))
    await copyTree(join(dir, 'from'), join(dir, 'to'))
    expect(listing('to')).toBe(listing('from'))
    expect(getXattr(join(dir, 'to/a/file'), 'user.colour')?.toString()).toBe('green')
    expect(getXattr(join(dir, 'to/a'), 'trusted.overlay.opaque')?.toString()).toBe('y')
  })

  test('an aborted copy stops', async () => {
    sh('mkdir -p from to; touch from/x')
    await expect(copyTree(join(dir, 'from'), join(dir, 'to'), AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' })
  })
})
