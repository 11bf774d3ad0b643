// `npm run quickstart`: a container from nothing, in a temporary directory that is gone afterwards.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensurePrograms, fail, setUpWorkspace } from './tools.mjs'

function step(text) {
  console.log(`\n==> ${text}`)
}

step('Setting up: dependencies, build, runc and busybox')
ensurePrograms(['runc', 'busybox'])
setUpWorkspace()
if (process.getuid?.() !== 0) fail('runc needs root to run a container: run `sudo npm run quickstart`.')

// Only there once the workspace is built.
const { buildBusyboxImage, startDaemon } = await import('@containerd-ts/testkit')
const { connect, importImage, run } = await import('@containerd-ts/client')

const dir = mkdtempSync(join(tmpdir(), 'quickstart-'))
let daemon
let containerd
try {
  step('Starting containerd')
  daemon = await startDaemon({ dir: join(dir, 'containerd'), config: 'version = 4\n' })
  console.log(`root ${daemon.root}, socket ${daemon.address}, answering after ${Math.round(daemon.bootMs)} ms`)

  step('Building an image from busybox and importing it')
  const image = await buildBusyboxImage(dir)
  containerd = connect(daemon.address)
  const [name] = await importImage(containerd, image.archive)
  console.log(`imported ${name}`)

  step('Running a container')
  const args = ['sh', '-c', 'echo "Hello from a container on $(uname -s) $(uname -r), my pid is $$"']
  const result = await run(containerd, { image: name, args })
  process.stdout.write(result.stdout)
  process.stderr.write(result.stderr)
  console.log(`exit status ${result.exitStatus}`)

  step('Plugins')
  const { plugins } = await containerd.introspection.plugins({})
  const rows = plugins.map((p) => [
    p.type,
    p.id,
    p.platforms.map((x) => `${x.os}/${x.architecture}`).join(',') || '-',
    state(p.initErr),
  ])
  printTable([['TYPE', 'ID', 'PLATFORMS', 'STATUS'], ...rows])
  if (result.exitStatus !== 0) process.exitCode = 1
} catch (error) {
  console.error(`\n${error.message}`)
  if (daemon) console.error(await daemon.log())
  process.exitCode = 1
} finally {
  step('Stopping')
  containerd?.close()
  await daemon?.stop()
  rmSync(dir, { recursive: true, force: true })
}

function state(error) {
  if (error === undefined) return 'ok'
  return error.message.includes('skip plugin') ? 'skip' : `error: ${error.message}`
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
}
