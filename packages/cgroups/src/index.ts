/** Reads Linux control groups: where a process is, what its group uses, who is in it, and whom the kernel kills in it. */
export {
  type Cgroup,
  cgroupAt,
  cgroupOf,
  type Hierarchies,
  type MountPoint,
  parseHierarchies,
  parseMembership,
  sameCgroup,
} from './hierarchy.js'
export { type OomWatch, watchOom } from './oom.js'
export { addToCgroup, cgroupPids } from './processes.js'
export { cgroupStats } from './stats.js'
export { readStatsV1 } from './stats-v1.js'
export { readStatsV2 } from './stats-v2.js'
