// `npm test`: sets up what is missing, then runs every check and every test of every package.

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePrograms, environment, root, run, setUpWorkspace } from './tools.mjs'

const isRoot = process.getuid?.() === 0
if (isRoot) ensurePrograms(['runc', 'busybox', 'ctr', 'crun', 'docker-registry', 'skopeo', 'dockerd', 'mkfs.btrfs', 'setfattr'])
setUpWorkspace()

run('node', ['tooling/checks/manifests.mjs'])
run('node', ['tooling/checks/arrows.mjs'])
run('node', ['tooling/generate/generate.mjs', '--check'])
run('node', ['tooling/generate/configuration.mjs', '--check'])
run('pnpm', ['exec', 'knip', '--no-progress', '--no-config-hints'])
run('turbo', ['run', 'lint', 'typecheck', '--output-logs=errors-only', '--log-order=grouped'])
run('node', ['tooling/checks/publish.mjs'])
run('node', ['tooling/reference/reference.mjs', '--check'])

function resultFiles() {
  return ['packages', 'apps', 'tooling'].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => ({
      name: `${group}/${name}`,
      path: join(root, group, name, 'test-results.json'),
    })),
  )
}

for (const { path } of resultFiles()) rmSync(path, { force: true })
// Root tests share the machine's mounts, cgroups and processes: one package after the other.
const { status } = spawnSync(
  'turbo',
  ['run', 'test', '--concurrency=1', '--continue', '--output-logs=new-only', '--log-order=grouped'],
  {
    cwd: root,
    stdio: 'inherit',
    env: environment,
  },
)

// What this machine's control groups cannot show.
const vm = isRoot
  ? spawnSync('node', ['tooling/vm/run.mjs', 'quick'], { cwd: root, stdio: 'inherit', env: environment }).status
  : 0
if (vm !== 0) console.log('failed: tests in a virtual machine with control groups of version 2')

/** The end of a package's log: failed tests, and what failed outside of any, such as the clearing up after them. */
function whyItFailed(name) {
  const lines = readFileSync(join(root, name, '.turbo/turbo-test.log'), 'utf8').split('\n')
  const first = lines.findIndex((line) => /⎯ (Failed|Unhandled) /.test(line))
  return lines.slice(first === -1 ? -100 : first, first === -1 ? undefined : first + 200).join('\n')
}

const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []
for (const { name, path } of resultFiles()) {
  let results
  try {
    results = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    continue
  }
  total.passed += results.numPassedTests
  total.failed += results.numFailedTests
  total.skipped += results.numPendingTests + results.numTodoTests
  if (results.numFailedTests > 0 || !results.success) failures.push(name)
}
for (const name of failures) console.log(`failed: ${name}\n${whyItFailed(name)}`)
if (!isRoot) console.log('\nTests that need root were skipped; run `sudo npm test` for all of them.')
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exit(status === 0 && vm === 0 && total.failed === 0 ? 0 : 1)
