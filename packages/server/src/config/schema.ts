import { choice, integer, list, record, text } from '@containerd-ts/plugin'
import { logLevels } from '../log.js'

/** Everything of a configuration file that is not a plugin's own, table by table. */
export const topLevel = {
  root: text({ default: '/var/lib/containerd', doc: 'Directory for persistent data.' }),
  state: text({ default: '/run/containerd', doc: 'Directory for volatile data.' }),
  temp: text({ default: '', doc: 'Directory for temporary files; created with mode 0700 and exported as TMPDIR.' }),
  plugin_dir: text({ default: '', doc: 'Directory of plugins from outside; empty for `<root>/plugins`.' }),
  disabled_plugins: list({ default: [], doc: 'URIs of plugins to leave out.' }),
  required_plugins: list({ default: [], doc: 'URIs of plugins without which the daemon must not start.' }),
  oom_score: integer({ default: 0, doc: 'OOM score adjustment of the daemon; 0 leaves it alone.' }),
  imports: list({ default: [], doc: 'Further configuration files; relative to this file, the last component may hold *.' }),
} as const

export const cgroupTable = { path: text({ default: '', doc: 'The cgroup that the daemon joins; empty for none.' }) } as const

export const debugTable = {
  level: choice(['', ...logLevels], { default: '', doc: 'The least severe level that is logged; empty means info.' }),
  format: choice(['', 'text', 'json'], { default: '', doc: 'The form of log lines; empty means text.' }),
} as const

/** What a `[proxy_plugins.NAME]` may be of: the short word and the plugin type that it stands for. */
export const proxyTypes = {
  snapshot: 'io.containerd.snapshotter.v1',
  content: 'io.containerd.content.v1',
  diff: 'io.containerd.differ.v1',
} as const

export type ProxyType = (typeof proxyTypes)[keyof typeof proxyTypes]

export const proxyTable = {
  type: choice(['', ...Object.keys(proxyTypes), ...Object.values(proxyTypes)], {
    default: '',
    doc: 'What the other process serves: snapshot, content or diff. Must be given.',
  }),
  address: text({ default: '', doc: 'Path of the unix socket that it serves on. Must be given.' }),
  platform: text({ default: '', doc: 'The platform that it is for, as os/architecture; empty for that of the machine.' }),
  exports: record(text({ default: '', doc: 'A value.' }), { doc: 'Shown by introspection.' }),
  capabilities: list({ default: [], doc: 'Shown by introspection.' }),
} as const

/** Time limits by containerd's names: the default in milliseconds and what it limits. */
export const timeouts: Readonly<Record<string, { readonly defaultMs: number; readonly doc: string }>> = {
  'io.containerd.timeout.bolt.open': { defaultMs: 0, doc: 'Accepted; the metadata database is not waited for.' },
  'io.containerd.timeout.metrics.shimstats': { defaultMs: 2000, doc: 'How long a shim may take to tell its figures.' },
  'io.containerd.timeout.plugin.load': {
    defaultMs: 10_000,
    doc: 'How long a plugin from outside may take to load, to initialise and to close.',
  },
  'io.containerd.timeout.shim.cleanup': { defaultMs: 5000, doc: 'How long the clean-up after a shim may take.' },
  'io.containerd.timeout.shim.load': { defaultMs: 5000, doc: 'How long a shim may take to answer when the daemon starts.' },
  'io.containerd.timeout.shim.shutdown': { defaultMs: 3000, doc: 'How long a shim may take to end.' },
  'io.containerd.timeout.task.checkpoint': { defaultMs: 600_000, doc: 'How long a checkpoint may take.' },
  'io.containerd.timeout.task.operation': { defaultMs: 120_000, doc: 'How long a shim may take to do what it is asked for.' },
  'io.containerd.timeout.task.state': { defaultMs: 2000, doc: 'How long a shim may take to tell the state of a task.' },
}

/** Keys of containerd that are accepted and have no effect here, with the reason. */
export const withoutEffect: Readonly<Record<string, string>> = {
  'debug.log_trace_id': 'calls are not traced',
  no_subreaper: 'the daemon is no subreaper',
  subreaper: 'the daemon is no subreaper',
}
