/** The walking differ, `io.containerd.differ.v1.walking`. */
import { dirname, join } from 'node:path'
import { hostPlatform } from '@containerd-ts/interface'
import { cleanupTempMounts } from '@containerd-ts/mount'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createWalkingDiffer } from './differ.js'

export { createWalkingDiffer, type WalkingDifferOptions } from './differ.js'

export const walkingDiffer: Registration<typeof PluginType.Differ> = {
  type: PluginType.Differ,
  id: 'walking',
  requires: [PluginType.Metadata],
  async init(ic) {
    ic.meta.platforms.push(hostPlatform())
    // Beside the plugins' own directories, where containerd has it.
    const tempRoot = join(dirname(ic.root), 'tmpmounts')
    await cleanupTempMounts(tempRoot)
    return createWalkingDiffer({ content: ic.get(PluginType.Metadata).content, tempRoot })
  },
}

register(walkingDiffer)
