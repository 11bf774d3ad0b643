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
  migrated = metadataToLevel(migrated)
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

/** The metadata plugin is another one than containerd's, with the same keys. */
function metadataToLevel(table: Table): Table {
  const plugins: Table = { ...(isTable(table['plugins']) ? table['plugins'] : {}) }
  rename(plugins, bolt, level)
  const renamed = (value: unknown) => (Array.isArray(value) ? value.map((id) => (id === bolt ? level : id)) : value)
  return {
    ...table,
    ...('disabled_plugins' in table && { disabled_plugins: renamed(table['disabled_plugins']) }),
    ...('required_plugins' in table && { required_plugins: renamed(table['required_plugins']) }),
    plugins,
  }
}

const bolt = 'io.containerd.metadata.v1.bolt'
const level = 'io.containerd.metadata.v1.level'
const servers = 'io.containerd.server.v1'

/** Up to version 3 the listeners are top-level sections. What is unknown in them goes along, to be refused by the listener. */
function serversToPlugins(table: Table): Table {
  const { grpc, ttrpc, metrics, debug, ...rest } = table
  const plugins: Table = { ...(isTable(table['plugins']) ? table['plugins'] : {}) }
  const set = (id: string, values: Table) => {
    const name = `${servers}.${id}`
    plugins[name] = { ...values, ...(isTable(plugins[name]) ? plugins[name] : {}) }
  }

  const server = splitServer(grpc)
  if (isTable(grpc)) set('grpc', server.own)
  const { address: tcpAddress, ...tls } = server.tcp
  if (typeof tcpAddress === 'string' && tcpAddress !== '') set('grpc-tcp', { address: tcpAddress, ...tls })
  if (isTable(ttrpc) && hasAddress(ttrpc)) set('ttrpc', ttrpc)
  else if ('address' in server.own) {
    const { uid, gid } = server.own
    set('ttrpc', { address: `${server.own['address']}.ttrpc`, uid, gid })
  }
  if (isTable(metrics)) {
    const { grpc_histogram: histogram, ...own } = metrics
    set('metrics', own)
    if (histogram !== undefined) plugins['io.containerd.metrics.v1.grpc-prometheus'] = { grpc_histogram: histogram }
  }
  const migrated: Table = { ...rest, plugins }
  if (isTable(debug)) {
    const { address, uid, gid, ...own } = debug
    migrated['debug'] = own
    if (hasAddress(debug)) set('debug', { address, ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) })
  } else if (debug !== undefined) migrated['debug'] = debug
  return migrated
}

function hasAddress(section: Table): boolean {
  return section['address'] !== undefined && section['address'] !== ''
}

/** Apart what is for TCP; an empty address means the default, and leaves the owner at the default as well. */
function splitServer(grpc: unknown): { own: Table; tcp: Table } {
  const own: Table = {}
  const tcp: Table = {}
  for (const [key, value] of Object.entries(isTable(grpc) ? grpc : {})) {
    if (key.startsWith('tcp_')) tcp[key.slice('tcp_'.length)] = value
    else own[key] = value
  }
  const { address, uid, gid, ...rest } = own
  if (address === undefined || address === '') return { own: rest, tcp }
  return { own: { address, uid: uid ?? 0, gid: gid ?? 0, ...rest }, tcp }
}

/** The older spellings of a key of the newest version, the newest of them first. */
export function formerPaths(path: readonly string[]): readonly (readonly string[])[] {
  const [top, name = '', ...rest] = path
  if (top !== 'plugins') return []
  const former: string[][] = []
  // Their own section, in every version.
  if (rest[0] === 'stream_processors') former.push(rest)
  if (name === level) former.push(['plugins', bolt, ...rest], ['plugins', 'bolt', ...rest])
  if (name.startsWith(`${servers}.`)) {
    const id = name.slice(servers.length + 1)
    former.push(id === 'grpc-tcp' ? ['grpc', ...rest.map((key) => `tcp_${key}`)] : [id, ...rest])
  }
  if (name === 'io.containerd.shim.v1.manager' && rest[0] === 'env')
    former.push(['plugins', 'io.containerd.runtime.v2.task', 'sched_core'])
  if (name === 'io.containerd.monitor.task.v1.cgroups') former.push(['plugins', 'io.containerd.monitor.v1.cgroups', ...rest])
  if (name === 'io.containerd.monitor.container.v1.restart')
    former.push(['plugins', 'io.containerd.internal.v1.restart', ...rest])
  former.push(['plugins', name.slice(name.lastIndexOf('.') + 1), ...rest])
  return former
}
