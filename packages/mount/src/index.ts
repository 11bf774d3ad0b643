/** Mounts in containerd's terms. Knows nothing of plugins. */
export { joinConfined } from './confined-path.js'
export { parseIdMap } from './id-mapped.js'
export { type Mount, type MountAllOptions, MountError, mountAll, mountAllSync } from './mount-all.js'
export { type MountInfo, mountsBelow, readMountInfo } from './mount-info.js'
export { type ParsedOptions, parseMountOptions } from './options.js'
export { overlayDirectories, readonlyMounts, withoutVolatile } from './overlay-options.js'
export { cleanupTempMounts, type TempMountOptions, withTempMount } from './temp-mount.js'
export { unmount, unmountAll, unmountMounts, unmountRecursive } from './unmount.js'
