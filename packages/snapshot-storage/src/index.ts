/** What every snapshotter needs beside its filesystem: a durable store of keys, parents and kinds with containerd's rules. */
export { removeOrphans } from './orphans.js'
export {
  type CommitSnapshotOptions,
  type CreateOptions,
  openSnapshotStorage,
  type SnapshotStorage,
  type StoredSnapshot,
  snapshotInfo,
} from './storage.js'
