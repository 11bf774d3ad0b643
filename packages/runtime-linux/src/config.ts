import { choice, durationMs, list, text } from '@containerd-ts/plugin'

/** How many containers share one process of our own shim. */
export const scopes = ['namespace', 'sandbox', 'container'] as const
/** What shares one shim process. */
export type ShimScope = (typeof scopes)[number]

/** How shims are started; `[plugins."io.containerd.shim.v1.manager"]`. */
export interface ShimConfig {
  env: readonly string[]
  socket_dir: string
  shim: string
  oci_runtime: string
  shim_scope: ShimScope
  shim_idle_timeout: number
}

export const shimConfig = {
  env: list({ default: [], doc: 'Variables, as KEY=VALUE, for the environment of shims.' }),
  socket_dir: text({ default: '', doc: "Directory of the shims' sockets; empty for /run/containerd/s." }),
  shim: text({
    default: '',
    doc: 'Path of the shim for io.containerd.runc.v2, ours or another; empty to find ours beside the daemon and in PATH.',
  }),
  oci_runtime: text({
    default: '',
    doc: 'OCI runtime of our shim where the options of a container name none, for instance crun; empty for runc.',
  }),
  shim_scope: choice(scopes, {
    default: 'namespace',
    doc: 'What shares one containerd-shim process: a namespace, a sandbox or nothing.',
  }),
  shim_idle_timeout: durationMs({
    default: 10_000,
    doc: 'How long a containerd-shim without containers is kept for the next one.',
  }),
}

/** `[plugins."io.containerd.runtime.v2.task"]`. */
export interface RuntimeConfig {
  platforms: readonly string[]
}

export const runtimeConfig = {
  platforms: list({ default: [], doc: 'Platforms that this runtime can run; empty for that of the machine.' }),
}
