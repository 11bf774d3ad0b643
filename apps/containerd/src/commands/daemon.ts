import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PluginType } from '@containerd-ts/plugin'
import { createLogger, type DaemonConfig, serve } from '@containerd-ts/server'
import { revision, version } from '../version.js'
import { command } from './command.js'
import { configuration } from './configuration.js'

export const daemon = command({
  words: [],
  summary: 'run the daemon',
  options: {},
  run: async ({ values, stop }) => runDaemon(await configuration(values), stop),
})

/** Runs the daemon until `stop` is aborted. */
async function runDaemon(config: DaemonConfig, stop: AbortSignal): Promise<void> {
  const log = createLogger({ level: config.logLevel, format: config.logFormat })
  // dockerd asks a daemon that hangs for its state before it kills it.
  process.on('SIGUSR1', () => {
    const path = join(tmpdir(), `containerd.${process.pid}.stacks.log`)
    process.report.writeReport(path)
    log.info('wrote a diagnostic report', { path })
  })
  // Whoever read the log may go away before the daemon does; saying so in the log would never end.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  process.on('uncaughtException', (error) => log.error('uncaught exception', { error: error.stack ?? error }))
  process.on('unhandledRejection', (error) =>
    log.error('unhandled rejection', { error: error instanceof Error ? (error.stack ?? error) : error }),
  )

  log.info('starting containerd', { version, revision })
  try {
    const daemon = await serve(requiringMetadata(config), { log, signal: stop, daemon: { version, revision } })
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }))
    log.info('stopping containerd', { reason: String(stop.reason) })
    await daemon.close()
  } catch (error) {
    // A signal during the boot is an ordinary stop.
    if (!stop.aborted) throw error
  }
}

/** Without its metadata a daemon answers nothing that a client asks; better to say why than to look alive. */
function requiringMetadata(config: DaemonConfig): DaemonConfig {
  const metadata = `${PluginType.Metadata}.level`
  if (config.disabledPlugins.includes(metadata)) return config
  return { ...config, requiredPlugins: [...new Set([...config.requiredPlugins, metadata])] }
}
