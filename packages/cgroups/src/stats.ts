import { existsSync } from 'node:fs'
import { type Any, packAny } from '@containerd-ts/api'
import { Metrics as MetricsV1 } from '@containerd-ts/api/io/containerd/cgroups/v1/metrics'
import { Metrics as MetricsV2 } from '@containerd-ts/api/io/containerd/cgroups/v2/metrics'
import { systemError } from '@containerd-ts/linux'
import type { Cgroup } from './hierarchy.js'
import { readStatsV1 } from './stats-v1.js'
import { readStatsV2 } from './stats-v2.js'

const ENOENT = 2

/**
 * The statistics of a group as `io.containerd.cgroups.v1.Metrics` or `io.containerd.cgroups.v2.Metrics`.
 *
 * @throws SystemError ENOENT when the group is gone.
 */
export function cgroupStats(cgroup: Cgroup): Any {
  if (cgroup.version === 2) {
    if (!existsSync(cgroup.path)) throw systemError(ENOENT, 'open', cgroup.path)
    return packAny('io.containerd.cgroups.v2.Metrics', MetricsV2, readStatsV2(cgroup.path))
  }
  const existing = new Map([...cgroup.paths].filter(([, path]) => existsSync(path)))
  if (existing.size === 0) throw systemError(ENOENT, 'open', [...cgroup.paths.values()][0])
  return packAny('io.containerd.cgroups.v1.Metrics', MetricsV1, readStatsV1(existing))
}
