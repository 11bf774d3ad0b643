import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MountFlag, mountSync, UnmountFlag, Unshare, unmountSync, unshare } from '@containerd-ts/linux'

const cgroups = '/sys/fs/cgroup'

/**
 * Gives this process, and what it starts from here on, a mount namespace in which crun works: of a mixed hierarchy of control groups it
 * wants every controller in version 1, where hugetlb is often missing. Other runtimes and their shims do not want it there, so nobody
 * else sees it. Nothing happens on a machine that has one version only. Needs root.
 */
export function prepareCgroups(): void {
  const unified = join(cgroups, 'unified/cgroup.controllers')
  const known = /^hugetlb\s/m.test(readFileSync('/proc/cgroups', 'utf8'))
  if (!known || !existsSync(unified) || existsSync(join(cgroups, 'hugetlb'))) return
  unshare(Unshare.Mounts)
  const { Bind, Private, Recursive } = MountFlag
  mountSync({ source: 'none', target: '/', flags: Recursive | Private })
  const copy = mkdtempSync(join(tmpdir(), 'cgroups-'))
  mountSync({ source: 'tmpfs', target: copy, type: 'tmpfs' })
  for (const name of [...readdirSync(cgroups), 'hugetlb']) mkdirSync(join(copy, name))
  for (const name of readdirSync(cgroups))
    mountSync({ source: join(cgroups, name), target: join(copy, name), flags: Bind | Recursive })
  mountSync({ source: 'cgroup', target: join(copy, 'hugetlb'), type: 'cgroup', data: 'hugetlb' })
  mountSync({ source: copy, target: cgroups, flags: Bind | Recursive })
  unmountSync(copy, UnmountFlag.Detach)
  rmdirSync(copy)
}
