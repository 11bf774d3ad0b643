for (const n of [
  'content-local',
  'events-exchange',
  'gc-scheduler',
  'metadata-level',
  'service-containers',
  'service-content',
  'service-events',
  'service-healthcheck',
  'service-images',
  'service-introspection',
  'service-leases',
  'service-namespaces',
  'service-snapshots',
  'service-tasks',
  'service-version',
  'metrics-cgroups',
  'runtime-linux',
  'snapshot-native',
  'snapshot-overlay',
]) {
  try {
    await import('@containerd-ts/' + n)
  } catch (e) {
    console.error('skip', n, e.message)
  }
}
await import('@containerd-ts/server/listeners')
const { loadConfigFile, daemonConfig, createLogger, serve, configTable } = await import('@containerd-ts/server')
const s = await import('@containerd-ts/server')
const d = '/tmp/rt/d'
const config = daemonConfig(await loadConfigFile(d + '/config.toml'), {
  root: d + '/root',
  state: d + '/state',
  address: d + '/c.sock',
})
const daemon = await serve(config, {
  log: createLogger({ level: 'info', format: 'text' }),
  daemon: { version: 'v2.3.4', revision: 'x' },
})
const stop = async () => {
  await daemon.close()
  process.exit(0)
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
