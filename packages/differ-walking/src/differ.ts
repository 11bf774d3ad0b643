import { openArchive } from '@containerd-ts/archive'
import type { ContentStore, Differ } from '@containerd-ts/interface'
import { applyLayer } from './apply.js'
import { compareTrees } from './compare.js'

export interface WalkingDifferOptions {
  /** The namespaced content store. */
  content: ContentStore
  /** Where mount points are made. */
  tempRoot: string
}

/** A differ that unpacks tar layers and makes them by walking two trees side by side. */
export function createWalkingDiffer(options: WalkingDifferOptions): Differ & { close(): Promise<void> } {
  const archive = openArchive()
  const deps = { archive, ...options }
  return {
    apply: (ctx, descriptor, mounts, applyOptions = {}) => applyLayer(deps, ctx, descriptor, mounts, applyOptions),
    compare: (ctx, lower, upper, compareOptions = {}) => compareTrees(deps, ctx, lower, upper, compareOptions),
    close: () => archive.close(),
  }
}
