// `npm run test:client`: the tests that containerd has of its Go client, against Debian's containerd and against this daemon.
//
// Their source is that of Debian's package, compiled with Debian's Go. A test that passes with containerd must pass here.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { buildImage, startRegistry } from '@containerd-ts/testkit'
import { ensurePrograms, environment, fail, installPackages, root, run, setUpWorkspace } from '../setup/tools.mjs'

const limitMinutes = 14
const go = '/usr/lib/go-1.19/bin/go'
const goLibraries = '/usr/share/gocode'
const importPath = 'github.com/containerd/containerd'
// Where these tests have their daemon.
const places = ['/run/containerd-test', '/var/lib/containerd-test', '/run/containerd/runc/testing']

// What fails with either daemon, for want of something else.
const skipped = [
  // Wait for ever, or want control groups of one version only.
  'TestBindLowPortNonOpt',
  'TestTaskUpdate',
  // Images of other registries, and for several platforms.
  /Schema1/,
  'TestImagePullWithDistSourceLabel',
  'TestImagePullSomePlatforms',
  'TestImageUsage',
  // criu.
  /Checkpoint/,
]

if (process.getuid?.() !== 0) fail('These tests start containers: run them as root.')
setUpWorkspace()
ensurePrograms(['runc', 'busybox', 'ctr', 'docker-registry', 'skopeo', 'patch', 'xz'])
if (!existsSync(go) || !existsSync(join(goLibraries, 'src', importPath)))
  installPackages(['golang-1.19-go', 'golang-github-containerd-containerd-dev'])

const dir = mkdtempSync(join(tmpdir(), 'client-tests-'))
const registry = await startRegistry(join(dir, 'registry'))
let regressions = []
try {
  await pushImages()
  const source = unpackSource(await download())
  const program = compile(source)
  const tests = listTests(program, source)
  const theirs = results('containerd', program, source, tests, [])
  const ours = results('this daemon', program, source, tests, [daemonDirectory()])
  regressions = tests.filter((test) => theirs.get(test) === 'PASS' && ours.get(test) !== 'PASS')
  // Some depend on how fast a daemon is: one counts the children of a shell that has just been started.
  if (regressions.length > 0) {
    const again = results('this daemon, again', program, source, regressions, [daemonDirectory()])
    regressions = regressions.filter((test) => again.get(test) !== 'PASS')
  }
  for (const test of tests) console.log(`${test.padEnd(50)} ${(theirs.get(test) ?? '-').padEnd(6)} ${ours.get(test) ?? '-'}`)
} finally {
  await registry.stop()
  rmSync(dir, { recursive: true, force: true })
}
if (regressions.length > 0) fail(`pass with containerd and fail here: ${regressions.join(', ')}`)
console.log('\nWhat passes with containerd passes here.')

/** The source package, beside which nothing of it is kept. */
async function download() {
  const at = join(dir, 'download')
  mkdirSync(join(at, 'lists/partial'), { recursive: true })
  writeFileSync(
    join(at, 'sources.list'),
    sourcesOfDebian()
      .map((line) => `${line}\n`)
      .join(''),
  )
  const options = [
    ['Dir::Etc::sourcelist', join(at, 'sources.list')],
    ['Dir::Etc::sourceparts', '/dev/null'],
    ['Dir::State::lists', join(at, 'lists')],
    ['APT::Sandbox::User', 'root'],
  ].flatMap(([name, value]) => ['-o', `${name}=${value}`])
  const quiet = { cwd: at, stdio: ['ignore', 'ignore', 'inherit'] }
  run('apt-get', [...options, 'update', '-qq'], quiet)
  run('apt-get', [...options, 'source', '-qq', '--download-only', 'containerd'], quiet)
  return at
}

/** Where sources are, which is beside the packages that this machine knows of. */
function sourcesOfDebian() {
  const format = '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)'
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], { encoding: 'utf8' })
  const targets = [...new Set(stdout.split('\n'))].map((line) => line.split('|')).filter(([origin]) => origin === 'Debian')
  return targets.map(([, uri, release, component]) => `deb-src ${uri} ${release} ${component}`)
}

/** The source with Debian's changes and with the images of our registry. */
function unpackSource(at) {
  const source = join(dir, 'gopath/src', importPath)
  mkdirSync(source, { recursive: true })
  const file = (part) => {
    const name = readdirSync(at).find((candidate) => candidate.includes(part))
    if (name === undefined) throw new Error(`the source package has no ${part}`)
    return join(at, name)
  }
  run('tar', ['-xf', file('.orig.tar'), '--strip-components=1', '-C', source])
  run('tar', ['-xf', file('.debian.tar'), '-C', source])
  const series = readFileSync(join(source, 'debian/patches/series'), 'utf8').split('\n')
  for (const patch of series.filter((line) => line !== '' && !line.startsWith('#')))
    run('patch', ['-p1', '-s', '-i', `debian/patches/${patch}`], { cwd: source })
  const tests = join(source, 'integration/client')
  for (const name of readdirSync(tests).filter((name) => name.endsWith('.go'))) {
    const text = readFileSync(join(tests, name), 'utf8')
    writeFileSync(join(tests, name), text.replaceAll(/(?:ghcr\.io|k8s\.gcr\.io|registry\.k8s\.io)\//g, `${registry.host}/`))
  }
  return tests
}

function compile(tests) {
  const program = join(dir, 'client.test')
  const env = { ...environment, GO111MODULE: 'off', GOPATH: [join(dir, 'gopath'), goLibraries].join(delimiter) }
  console.log("compiling the tests of containerd's client")
  run(go, ['test', '-c', '-o', program, `${importPath}/integration/client`], { cwd: tests, env })
  return program
}

function listTests(program, cwd) {
  const { stdout } = spawnSync(program, ['-test.short', '-test.list', '.'], { cwd, encoding: 'utf8' })
  const isSkipped = (test) => skipped.some((pattern) => (typeof pattern === 'string' ? pattern === test : pattern.test(test)))
  return stdout.split('\n').filter((line) => line.startsWith('Test') && !isSkipped(line))
}

/** How each test ends with the `containerd` that is found in these directories first. */
function results(name, program, cwd, tests, directories) {
  console.log(`${tests.length} tests with ${name}`)
  clearAway()
  const args = ['-test.root', '-test.v', '-no-criu', `-test.timeout=${limitMinutes}m`, '-test.run', `^(${tests.join('|')})$`]
  const env = { ...environment, PATH: [...directories, environment.PATH].join(delimiter) }
  const options = { cwd, env, encoding: 'utf8', maxBuffer: 1 << 28, timeout: (limitMinutes + 1) * 60_000 }
  const { stdout, stderr } = spawnSync(program, args, options)
  const found = new Map([...stdout.matchAll(/^--- (PASS|FAIL|SKIP): (\S+)/gm)].map(([, how, test]) => [test, how]))
  if (found.size === 0) throw new Error(`no test ran with ${name}:\n${stdout.slice(0, 1000)}${stderr.slice(0, 2000)}`)
  if ([...found.values()].includes('FAIL'))
    for (const [, what] of stdout.matchAll(/^( +\w+_test\.go:\d+: .*|--- FAIL: .*)$/gm))
      if (!what.includes('level=') && !what.includes('status="')) console.log(what.slice(0, 300))
  clearAway()
  return found
}

/** A test that fails leaves its container. */
function clearAway() {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const isShim = (command) => command.includes('shim') && command.includes(`${places[0]}/`)
  const shims = pids.filter((pid) => quietly(() => isShim(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))))
  const parentOf = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]
  const containers = pids.filter((pid) => quietly(() => shims.includes(parentOf(pid))))
  for (const pid of [...containers, ...shims]) quietly(() => process.kill(Number(pid), 'SIGKILL'))
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n').reverse()) {
    const [, at = ''] = line.split(' ')
    if (places.some((place) => at.startsWith(`${place}/`))) spawnSync('umount', ['-l', at])
  }
  for (const place of places) rmSync(place, { recursive: true, force: true })
}

/** What is gone meanwhile is no error. */
function quietly(work) {
  try {
    return work()
  } catch {
    return undefined
  }
}

function daemonDirectory() {
  const bin = mkdtempSync(join(dir, 'bin-'))
  symlinkSync(join(root, 'apps/containerd/bin/containerd'), join(bin, 'containerd'))
  return bin
}

/** Images as these tests want them: a busybox with users, one with a volume, and one for other platforms as well. */
async function pushImages() {
  const tree = join(dir, 'tree')
  const script = `mkdir -p bin etc tmp root home usr/bin
    cp /bin/busybox bin; for name in $(bin/busybox --list); do [ $name = busybox ] || ln -s busybox bin/$name; done
    cp /usr/share/base-passwd/passwd.master etc/passwd; cp /usr/share/base-passwd/group.master etc/group`
  const base = tarOf('base', script)
  const volume = tarOf('volume', 'mkdir data; echo text > data/test')
  const busybox = await buildImage(join(dir, 'busybox'), 'x:1', [base])
  for (const name of ['containerd/busybox:1.32', 'containerd/alpine:3.14.0', 'e2e-test-images/busybox:1.29-2'])
    await registry.push(busybox.layout, name)
  await registry.push((await buildImage(join(dir, 'volumes'), 'x:1', [base, volume])).layout, 'containerd/volume-copy-up:2.1')
  await registry.push((await buildImage(join(dir, 'pause'), 'x:1', [volume])).layout, 'pause:3.6')

  function tarOf(name, words) {
    const at = join(tree, name)
    mkdirSync(at, { recursive: true })
    run('sh', ['-euc', words], { cwd: at })
    run('tar', ['-C', at, '-cf', `${at}.tar`, '.'])
    return `${at}.tar`
  }
}
