/** The walking differ, `io.containerd.differ.v1.walking`. */
import { dirname, join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import { hostPlatform } from '@containerd-ts/interface'
import { cleanupTempMounts } from '@containerd-ts/mount'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createWalkingDiffer } from './differ.js'

export { createWalkingDiffer, type WalkingDiffer, type WalkingDifferDeps } from './differ.js'

/** The plugin `io.containerd.differ.v1.walking`. */
export const walkingDiffer: Registration<typeof PluginType.Differ> = {
  type: PluginType.Differ,
  id: 'walking',
  requires: [PluginType.Metadata],
  async init(ic) {
    const { content } = ic.get(PluginType.Metadata)
    // Beside the plugins' own directories, as containerd has it.
    const tempRoot = join(dirname(ic.root), 'tmpmounts')
    await cleanupTempMounts(tempRoot)
    ic.meta.platforms.push(hostPlatform())
    return createWalkingDiffer({ content, archive: openArchive(), tempRoot })
  },
}

register(walkingDiffer)
