import './plugins.js'
import { daemonConfig, loadConfigFile, serve } from '@containerd-ts/server'

async function main([path]: readonly string[]): Promise<void> {
  if (path === '--help') {
    console.log('__name__ [config.toml]')
    return
  }
  const stop = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort(signal))

  const document = path === undefined ? { table: {}, files: [] } : await loadConfigFile(path)
  const daemon = await serve(
    daemonConfig(document, {}, (warning) => console.error(warning)),
    { signal: stop.signal },
  )
  if (!stop.signal.aborted) await new Promise((resolve) => stop.signal.addEventListener('abort', resolve, { once: true }))
  await daemon.close()
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(`__name__: ${error instanceof Error ? error.message : error}`)
    process.exit(1)
  },
)
