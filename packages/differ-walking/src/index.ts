/** The walking differ, `io.containerd.differ.v1.walking`. */
import { dirname, join } from 'node:path'
import { openArchive } from '@containerd-ts/archive'
import { hostPlatform } from '@containerd-ts/interface'
import { cleanupTempMounts } from '@containerd-ts/mount'
import { list, PluginType, type Registration, record, register, table, text } from '@containerd-ts/plugin'
import { warmOnArrivals } from './arrivals.js'
import { createWalkingDiffer } from './differ.js'
import type { StreamProcessor } from './stream-processor.js'

export { createWalkingDiffer, type WalkingDiffer, type WalkingDifferDeps } from './differ.js'
export type { StreamProcessor } from './stream-processor.js'

const processorSchema = {
  accepts: list({ default: [], doc: 'Media types that it takes.' }),
  returns: text({ default: '', doc: 'Media type of what it gives back.' }),
  path: text({ default: '', doc: 'The program.' }),
  args: list({ default: [], doc: 'Its arguments.' }),
  env: list({ default: [], doc: 'NAME=value, beside the environment of the daemon.' }),
}

interface WalkingConfig {
  stream_processors: Readonly<Record<string, Omit<StreamProcessor, 'id'>>>
}

const processorsDoc =
  'Programs that make layers of media types of their own into ordinary ones, by id; what `[stream_processors]` says.'

/** The plugin `io.containerd.differ.v1.walking`. */
export const walkingDiffer: Registration<typeof PluginType.Differ, WalkingConfig> = {
  type: PluginType.Differ,
  id: 'walking',
  requires: [PluginType.Metadata, PluginType.Event],
  config: { stream_processors: record(table(processorSchema, { doc: 'A program.' }), { doc: processorsDoc }) },
  async init(ic) {
    const { content } = ic.get(PluginType.Metadata)
    // Beside the plugins' own directories, as containerd has it.
    const tempRoot = join(dirname(ic.root), 'tmpmounts')
    await cleanupTempMounts(tempRoot)
    ic.meta.platforms.push(hostPlatform())
    const processors = Object.entries(ic.config.stream_processors).map(([id, processor]) => ({ id, ...processor }))
    const archive = openArchive()
    const differ = createWalkingDiffer({ content, archive, tempRoot, processors })
    const closing = new AbortController()
    warmOnArrivals(ic.events, archive, closing.signal).catch((error) => {
      ic.log.warn('threads for layers are no longer started ahead', { error })
    })
    return {
      ...differ,
      close() {
        closing.abort()
        return differ.close()
      },
    }
  },
}

register(walkingDiffer)
