// Packs every published package and looks at it as its users get it: manifest, entry points, types, size of what is shipped.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packages, root } from './workspace.mjs'

const exec = promisify(execFile)
const out = mkdtempSync(join(tmpdir(), 'publish-'))
const wrong = []

async function check({ manifest }) {
  const tarball = join(out, `${manifest.name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`)
  const tools = join(root, 'node_modules/.bin')
  const { stdout: files } = await exec('tar', ['-tzf', tarball])
  for (const file of files.trim().split('\n')) {
    const template = file.startsWith('package/template/')
    if (!template && /\/(test|bench|proto)\/|\.tsbuildinfo$|test-results/.test(file))
      wrong.push(`${manifest.name}: ${file} must not be published`)
  }
  for (const needed of ['README.md', 'CHANGELOG.md', 'LICENSE']) {
    if (!files.includes(`package/${needed}\n`)) wrong.push(`${manifest.name}: ${needed} is not in the package`)
  }
  const publint = await exec(join(tools, 'publint'), ['run', tarball, '--strict']).catch((error) => error)
  if (publint.code) wrong.push(`${manifest.name}: ${publint.stdout}${publint.stderr}`)
  if (manifest.exports === undefined) return
  const attw = await exec(join(tools, 'attw'), [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-emoji']).catch(
    (error) => error,
  )
  if (attw.code) wrong.push(`${manifest.name}: ${attw.stdout}`)
}

try {
  await exec('pnpm', ['--recursive', '--filter', './packages/*', '--filter', './apps/*', 'pack', '--pack-destination', out], {
    cwd: root,
  })
  const queue = packages().filter(({ manifest }) => !manifest.private)
  const total = queue.length
  // Each check is a few processes of its own; two at once keep two cores busy.
  await Promise.all(
    [0, 1].map(async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await check(next)
    }),
  )
  for (const line of wrong) console.error(line)
  console.log(`publish: ${total} packages, ${wrong.length} wrong`)
} finally {
  rmSync(out, { recursive: true, force: true })
}
process.exit(wrong.length > 0 ? 1 : 0)
