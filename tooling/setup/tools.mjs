import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const toolsBin = join(root, '.tools/node_modules/.bin')

/** Ends the program with one line that says what to do. */
export function fail(message) {
  console.error(`\n${message}`)
  process.exit(1)
}

/** The environment in which the workspace's own tools are found first. */
export const environment = {
  ...process.env,
  PATH: [toolsBin, join(root, 'node_modules/.bin'), process.env.PATH].join(delimiter),
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
}

/** Runs a program in the workspace with its output shown. Ends this one when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: environment, ...options })
  if (error) fail(`${command}: ${error.message}`)
  if (status !== 0) fail(`\`${command} ${args.join(' ')}\` failed`)
}

function onPath(program) {
  return (environment.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, program)))
}

/** Installs the pnpm that package.json pins into .tools, with nothing but npm. */
export function ensurePnpm() {
  const [name, version] = manifest.packageManager.split('@')
  const installed = join(root, '.tools/node_modules', name, 'package.json')
  if (existsSync(installed) && JSON.parse(readFileSync(installed, 'utf8')).version === version) return
  console.log(`installing ${name} ${version}`)
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', join(root, '.tools'), `${name}@${version}`])
}

/** Dependencies and build; needs no root. */
export function setUpWorkspace() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) fail(`Node 20.19 or newer is needed, this is ${process.versions.node}`)
  ensurePnpm()
  run('pnpm', ['install', '--frozen-lockfile', '--reporter=append-only', '--loglevel=warn'])
  run('turbo', ['run', 'build', '--output-logs=errors-only', '--log-order=grouped'])
}

/** Debian packages by a program that each brings. */
const packages = {
  runc: 'runc',
  busybox: 'busybox-static',
  ctr: 'containerd',
  crun: 'crun',
  criu: 'criu',
  'docker-registry': 'docker-registry',
  skopeo: 'skopeo',
  dockerd: 'docker.io',
  'qemu-system-x86_64': 'qemu-system-x86',
  'mkfs.btrfs': 'btrfs-progs',
  setfattr: 'attr',
  patch: 'patch',
  xz: 'xz-utils',
}

/** Sees to it that programs are there: installs their Debian packages as root, or says which ones to install. */
export function ensurePrograms(programs) {
  const missing = programs.filter((program) => !onPath(program)).map((program) => packages[program])
  if (missing.length === 0) return
  const command = `apt-get install --no-install-recommends ${missing.join(' ')}`
  if (process.getuid?.() !== 0)
    fail(`These Debian packages are missing: ${missing.join(', ')}. Install them with \`sudo ${command}\`, then run this again.`)
  if (!onPath('apt-get'))
    fail(`These programs are missing: ${missing.join(', ')}. Install them with your package manager, then run this again.`)
  installPackages(missing)
}

/** Installs Debian packages, as root. */
export function installPackages(names) {
  console.log(`installing ${names.join(', ')}`)
  const env = { ...environment, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['update', '-qq'], { env })
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], { env, stdio: ['ignore', 'ignore', 'inherit'] })
}
