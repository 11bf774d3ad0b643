import type { AnyCommand } from './command.js'
import { configCheck } from './config-check.js'
import { configDefault } from './config-default.js'
import { configDump, configMigrate } from './config-dump.js'
import { daemon } from './daemon.js'
import { gc } from './gc.js'
import { gcExplain } from './gc-explain.js'
import { metadataCheck } from './metadata-check.js'
import { metadataDump } from './metadata-dump.js'
import { metadataRepair } from './metadata-repair.js'
import { ociHook } from './oci-hook.js'
import { pluginsAdd } from './plugins-add.js'
import { pluginsExplain } from './plugins-explain.js'
import { pluginsGraph } from './plugins-graph.js'
import { pluginsLs } from './plugins-ls.js'
import { pluginsRm } from './plugins-rm.js'
import { publish } from './publish.js'

/** Every command, in the order of the help. */
// biome-ignore format: one line a command.
export const commands: readonly AnyCommand[] = [
  daemon,
  configDefault,
  configDump,
  configMigrate,
  configCheck,
  pluginsLs,
  pluginsGraph,
  pluginsExplain,
  pluginsAdd,
  pluginsRm,
  gc,
  gcExplain,
  metadataDump,
  metadataCheck,
  metadataRepair,
  publish,
  ociHook,
]
