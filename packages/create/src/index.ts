/** Makes projects: a daemon of one's own, a snapshotter plugin, a gRPC service plugin. */
export { type PluginChoice, plugins, presets } from './plugins.js'
export { createProject, kinds, type ProjectKind, type ProjectOptions } from './project.js'
