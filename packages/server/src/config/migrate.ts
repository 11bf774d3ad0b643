import { isTable, type Table } from './toml.js'

/** The newest configuration version, which everything older is brought to. */
export const configVersion = 4

/** Brings a parsed file of any older version to the newest, step by step. The argument is not changed. */
export function migrate(table: Table): Table {
  const version = typeof table['version'] === 'number' && table['version'] > 0 ? table['version'] : 1
  let migrated: Table = structuredClone(table)
  if (version < 2) migrated = fromShortNames(migrated)
  if (version < 3) migrated = splitMonitors(migrated)
  if (version < 4) migrated = serversToPlugins(migrated)
  return { ...migrated, version: configVersion }
}

const shortNames: Readonly<Record<string, string>> = {
  cri: 'io.containerd.grpc.v1.cri',
  cgroups: 'io.containerd.monitor.v1.cgroups',
  linux: 'io.containerd.runtime.v1.linux',
  task: 'io.containerd.runtime.v2.task',
  scheduler: 'io.containerd.gc.v1.scheduler',
  bolt: 'io.containerd.metadata.v1.bolt',
  opt: 'io.containerd.internal.v1.opt',
  restart: 'io.containerd.internal.v1.restart',
  tracing: 'io.containerd.internal.v1.tracing',
  otlp: 'io.containerd.tracing.processor.v1.otlp',
  aufs: 'io.containerd.snapshotter.v1.aufs',
  btrfs: 'io.containerd.snapshotter.v1.btrfs',
  devmapper: 'io.containerd.snapshotter.v1.devmapper',
  native: 'io.containerd.snapshotter.v1.native',
  overlayfs: 'io.containerd.snapshotter.v1.overlayfs',
  zfs: 'io.containerd.snapshotter.v1.zfs',
}

/** Version 1 names plugins by bare id. */
function longName(id: string): string {
  if (id.startsWith('io.containerd.')) return id
  return shortNames[id] ?? (id.endsWith('-service') ? `io.containerd.service.v1.${id}` : `io.containerd.grpc.v1.${id}`)
}

function longNames(value: unknown): unknown {
  return Array.isArray(value) ? value.map((id) => (typeof id === 'string' ? longName(id) : id)) : value
}

function fromShortNames(table: Table): Table {
  const plugins = isTable(table['plugins']) ? table['plugins'] : {}
  return {
    ...table,
    ...('disabled_plugins' in table && { disabled_plugins: longNames(table['disabled_plugins']) }),
    ...('required_plugins' in table && { required_plugins: longNames(table['required_plugins']) }),
    plugins: Object.fromEntries(Object.entries(plugins).map(([id, section]) => [longName(id), section])),
  }
}

function rename(plugins: Table, from: string, to: string): void {
  if (!(from in plugins)) return
  plugins[to] = { ...(isTable(plugins[to]) ? plugins[to] : {}), ...(isTable(plugins[from]) ? plugins[from] : {}) }
  delete plugins[from]
}

function splitMonitors(table: Table): Table {
  const plugins: Table = { ...(isTable(table['plugins']) ? table['plugins'] : {}) }
  rename(plugins, 'io.containerd.monitor.v1.cgroups', 'io.containerd.monitor.task.v1.cgroups')
  rename(plugins, 'io.containerd.internal.v1.restart', 'io.containerd.monitor.container.v1.restart')
  const task = plugins['io.containerd.runtime.v2.task']
  if (isTable(task) && 'sched_core' in task) {
    const { sched_core: schedCore, ...rest } = task
    plugins['io.containerd.runtime.v2.task'] = rest
    const manager = plugins['io.containerd.shim.v1.manager']
    if (schedCore === true)
      plugins['io.containerd.shim.v1.manager'] = { env: ['SCHED_CORE=1'], ...(isTable(manager) ? manager : {}) }
  }
  return { ...table, plugins }
}

/** Up to version 3 the listeners are top-level sections. */
function serversToPlugins(table: Table): Table {
  const { grpc, ttrpc, metrics, ...rest } = table
  const plugins: Table = { ...(isTable(table['plugins']) ? table['plugins'] : {}) }
  const set = (uri: string, values: Table) => {
    plugins[uri] = { ...values, ...(isTable(plugins[uri]) ? plugins[uri] : {}) }
  }
  const pick = (from: Table, keys: readonly string[]) =>
    Object.fromEntries(keys.filter((k) => k in from).map((k) => [k, from[k]]))

  const server = isTable(grpc) ? grpc : {}
  const ids =
    typeof server['address'] === 'string' && server['address'] !== '' ? { uid: server['uid'] ?? 0, gid: server['gid'] ?? 0 } : {}
  const address = typeof server['address'] === 'string' && server['address'] !== '' ? { address: server['address'] } : {}
  if (isTable(grpc)) {
    set('io.containerd.server.v1.grpc', {
      ...address,
      ...ids,
      ...pick(server, ['max_recv_message_size', 'max_send_message_size']),
    })
  }
  if (typeof server['tcp_address'] === 'string' && server['tcp_address'] !== '') {
    const tls = ['ca', 'cert', 'key', 'common_name']
      .filter((k) => `tcp_tls_${k}` in server)
      .map((k) => [`tls_${k}`, server[`tcp_tls_${k}`]])
    set('io.containerd.server.v1.grpc-tcp', { address: server['tcp_address'], ...Object.fromEntries(tls) })
  }
  if (isTable(ttrpc) && typeof ttrpc['address'] === 'string' && ttrpc['address'] !== '') {
    set('io.containerd.server.v1.ttrpc', pick(ttrpc, ['address', 'uid', 'gid']))
  } else if ('address' in address) {
    set('io.containerd.server.v1.ttrpc', { address: `${address.address}.ttrpc`, ...ids })
  }
  if (isTable(metrics)) {
    if ('address' in metrics) set('io.containerd.server.v1.metrics', { address: metrics['address'] })
    if ('grpc_histogram' in metrics)
      set('io.containerd.metrics.v1.grpc-prometheus', { grpc_histogram: metrics['grpc_histogram'] })
  }
  const migrated: Table = { ...rest, plugins }
  if (isTable(table['debug'])) {
    const { address: debugAddress, uid, gid, ...debug } = table['debug']
    migrated['debug'] = debug
    if (typeof debugAddress === 'string' && debugAddress !== '') {
      set('io.containerd.server.v1.debug', {
        address: debugAddress,
        ...(uid !== undefined && { uid }),
        ...(gid !== undefined && { gid }),
      })
    }
  }
  return migrated
}
