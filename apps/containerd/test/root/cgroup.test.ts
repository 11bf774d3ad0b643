import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, startDaemon, type TestDaemon } from '@containerd-ts/testkit'
import { expect, test } from 'vitest'

const mountPoint = '/sys/fs/cgroup'

// Needs root.
test.runIf(process.getuid?.() === 0)('the daemon runs in the cgroup of its configuration', async () => {
  const unified = existsSync(join(mountPoint, 'cgroup.controllers'))
  const path = `/daemon-${process.pid}/below`
  // One of version 2 is not made by the daemon.
  if (unified) await mkdir(join(mountPoint, path), { recursive: true })
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '))
  const hierarchies = unified ? [mountPoint] : mounts.flatMap(([, at = '', type]) => (type === 'cgroup' ? [at] : []))
  expect(hierarchies.length).toBeGreaterThan(0)
  const dir = await mkdtemp(join(tmpdir(), 'cgroup-'))
  let daemon: TestDaemon | undefined
  try {
    daemon = await startDaemon({ dir, config: `version = 2\n[cgroup]\n  path = "${path}"\n` })
    for (const at of hierarchies)
      expect((await readFile(join(at, path, 'cgroup.procs'), 'utf8')).split('\n'), at).toContain(String(daemon.pid))
  } finally {
    await daemon?.stop()
    await rm(dir, { recursive: true, force: true })
    // The kernel may take a moment to see that they are empty.
    for (const at of hierarchies)
      for (const directory of [path, join(path, '..')])
        await eventually(`${directory} can go`, () =>
          rmdir(join(at, directory)).then(
            () => true,
            () => undefined,
          ),
        )
  }
})
