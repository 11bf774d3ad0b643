// Packs every published package and looks at it as its users get it: manifest, entry points, types, what is shipped and how much.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { packages, root } from './workspace.mjs'

const exec = promisify(execFile)
const out = mkdtempSync(join(tmpdir(), 'publish-'))
const wrong = []

// Programs are bundles; everything else is a few files of source.
const limits = {
  '@containerd-ts/containerd': 2_500_000,
  '@containerd-ts/containerd-shim': 800_000,
  '@containerd-ts/api': 400_000,
}
const usualLimit = 200_000

async function check({ manifest }) {
  const { name, version } = manifest
  const tarball = join(out, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`)
  const { stdout: files } = await exec('tar', ['-tzf', tarball])
  for (const file of files.trim().split('\n')) {
    const template = file.startsWith('package/template/')
    if (!template && /\/(test|bench|proto)\/|\.tsbuildinfo$|test-results/.test(file))
      wrong.push(`${name}: ${file} must not be published`)
  }
  for (const needed of ['README.md', 'CHANGELOG.md', 'LICENSE']) {
    if (!files.includes(`package/${needed}\n`)) wrong.push(`${name}: ${needed} is not in the package`)
  }
  const { size } = statSync(tarball)
  const limit = limits[name] ?? usualLimit
  if (size > limit) wrong.push(`${name}: ${size} bytes packed, more than ${limit}`)

  const data = await readFile(tarball)
  const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(data).buffer }, strict: true })
  for (const message of messages) wrong.push(`${name}: ${formatMessage(message, pkg, { color: false })}`)
  if (manifest.exports === undefined) return
  const { problems = [] } = await checkPackage(createPackageFromTarballData(new Uint8Array(data)))
  for (const problem of problems) {
    // Packages are ES modules only: resolution by require, in old and in new Node, does not count.
    if (problem.resolutionKind === 'node10' || problem.resolutionKind === 'node16-cjs' || problem.kind === 'CJSResolvesToESM')
      continue
    wrong.push(`${name}: ${problem.kind} ${problem.entrypoint ?? ''} ${problem.resolutionKind ?? ''}`)
  }
}

try {
  await exec('pnpm', ['--recursive', '--filter', './packages/*', '--filter', './apps/*', 'pack', '--pack-destination', out], {
    cwd: root,
  })
  const published = packages().filter(({ manifest }) => !manifest.private)
  for (const one of published) await check(one)
  for (const line of wrong) console.error(line)
  console.log(`publish: ${published.length} packages, ${wrong.length} wrong`)
} finally {
  rmSync(out, { recursive: true, force: true })
}
process.exit(wrong.length > 0 ? 1 : 0)
