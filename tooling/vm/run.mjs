// `npm run test:vm`: the tests of tasks in a virtual machine that has control groups of version 2 and nothing else.
//
// Debian's kernel runs under qemu, emulated, with a disk that holds this workspace and the few programs that the tests need.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { ensurePrograms, fail, root, setUpWorkspace } from '../setup/tools.mjs'
import { cpio } from './cpio.mjs'

const limitMs = 15 * 60_000
const here = join(root, 'tooling/vm')

// What is run, by package: vitest's own arguments. `npm test` runs what drives the OCI runtimes, `npm run test:vm` all of it.
const quick = [
  ['packages/cgroups', []],
  ['apps/containerd-shim', ['test/root']],
]
const all = [
  ['packages/cgroups', []],
  ['packages/linux', ['test/processes.test.ts']],
  ['apps/containerd-shim', []],
  ['packages/runtime-linux', []],
]
const suites = process.argv.includes('quick') ? quick : all

/** Programs of Debian that the tests start, with the libraries that they need. */
const programs = [
  'node',
  'runc',
  'crun',
  'criu',
  'tar',
  'containerd-shim-runc-v2',
  'sh',
  'ps',
  'ls',
  'cat',
  'sleep',
  'id',
  'mkfifo',
  'grep',
  'cut',
  'readlink',
  'mount',
  'umount',
]
// What criu looks into processes with.
const forCriu = [
  'net/unix/unix_diag',
  'net/ipv4/inet_diag',
  'net/ipv4/tcp_diag',
  'net/ipv4/udp_diag',
  'net/ipv4/raw_diag',
  'net/packet/af_packet_diag',
  'net/netlink/netlink_diag',
  'drivers/net/tun',
  'drivers/net/veth',
  'net/netfilter/nfnetlink',
  'lib/libcrc32c',
  'net/netfilter/nf_tables',
]
/** Of the workspace's dependencies, what only building and checking needs. */
const leftOut = /^(@biomejs|@bufbuild\+buf|@turbo|turbo|typescript|@typescript|dprint|knip|publint|@arethetypeswrong|ts-proto)/

if (process.getuid?.() !== 0) fail('The machine is made of files that only root may write: run `sudo npm run test:vm`.')
ensurePrograms(['qemu-system-x86_64', 'runc', 'crun', 'criu', 'busybox', 'ctr'])
setUpWorkspace()

const work = mkdtempSync(join(tmpdir(), 'vm-'))
try {
  const kernel = debianKernel()
  console.log(`kernel ${basename(kernel.image)}`)
  const initrd = join(work, 'initrd')
  writeFileSync(initrd, firstRoot(kernel.modules))
  const disk = join(work, 'disk')
  makeDisk(disk)
  process.exitCode = boot(kernel.image, initrd, disk)
} finally {
  rmSync(work, { recursive: true, force: true })
}

/** Debian's kernel for virtual machines, which is downloaded once and not installed. */
function debianKernel() {
  const cache = join(root, '.tools/kernel')
  if (!existsSync(cache)) {
    const meta = must('apt-cache', ['depends', 'linux-image-cloud-amd64'], { encoding: 'utf8' }).stdout
    const name = /Depends: (linux-image-\S+)/.exec(meta)?.[1] ?? fail('linux-image-cloud-amd64 is not known to apt-get')
    must('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', name], { cwd: work })
    const [file] = readdirSync(work).filter((entry) => entry.endsWith('.deb'))
    must('dpkg-deb', ['-x', join(work, file), cache])
  }
  const [image] = readdirSync(join(cache, 'boot')).filter((name) => name.startsWith('vmlinuz-'))
  return { image: join(cache, 'boot', image), modules: join(cache, 'lib/modules', image.replace('vmlinuz-', ''), 'kernel') }
}

/** What the kernel starts with: enough to find the disk. */
function firstRoot(modules) {
  const files = [
    'drivers/virtio/virtio_ring',
    'drivers/virtio/virtio',
    'drivers/virtio/virtio_pci_legacy_dev',
    'drivers/virtio/virtio_pci_modern_dev',
    'drivers/virtio/virtio_pci',
    'drivers/block/virtio_blk',
    'fs/overlayfs/overlay',
    ...forCriu,
  ]
  const directory = 0o040755
  const program = 0o100755
  return cpio([
    ...['bin', 'dev', 'modules', 'root'].map((name) => ({ name, mode: directory })),
    { name: 'bin/busybox', mode: program, content: readFileSync('/bin/busybox') },
    { name: 'init', mode: program, content: readFileSync(join(here, 'first-init.sh')) },
    ...files.map((path, index) => ({
      name: `modules/${String(index).padStart(2, '0')}-${basename(path)}.ko`,
      mode: program,
      content: readFileSync(join(modules, `${path}.ko`)),
    })),
  ])
}

function makeDisk(disk) {
  const tree = join(work, 'tree')
  for (const name of [
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
    'etc',
    'proc',
    'sys',
    'dev',
    'run',
    'tmp',
    'root',
    'src',
    'var/tmp',
  ])
    mkdirSync(join(tree, name), { recursive: true })
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(tree, name))
  for (const name of ['passwd', 'group']) cpSync(join('/etc', name), join(tree, 'etc', name))
  addPrograms(tree)
  cpSync(join(here, 'init.sh'), join(tree, 'usr/sbin/vm-init'))
  writeFileSync(join(tree, 'src/suites'), suites.map(([dir, args]) => [dir, ...args].join(' ')).join('\n'))
  for (const name of ['package.json', 'pnpm-workspace.yaml', 'packages', 'apps', 'tooling', 'node_modules'])
    cpSync(join(root, name), join(tree, 'src', name), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !isLeftOut(path),
    })
  must('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', tree, disk, '1500m'])
  rmSync(tree, { recursive: true })
}

function isLeftOut(path) {
  return dirname(path) === join(root, 'node_modules/.pnpm') && leftOut.test(basename(path))
}

function addPrograms(tree) {
  const add = (path) => {
    const target = join(tree, realPlace(path))
    if (existsSync(target)) return
    mkdirSync(dirname(target), { recursive: true })
    cpSync(realpathSync(path), target)
  }
  const addLibraries = (path) => {
    const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' })
    for (const [, library] of stdout.matchAll(/(\/\S+) \(0x/g)) add(library)
  }
  for (const program of programs) {
    const path = must('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim()
    add(path)
    addLibraries(path)
  }
  const natives = must('find', [join(root, 'node_modules/.pnpm'), '-name', '*linux-x64*.node'], { encoding: 'utf8' }).stdout
  for (const path of natives.trim().split('\n')) if (!/musl|dprint/.test(path)) addLibraries(path)
  // A library that is only loaded at run time.
  add('/lib/x86_64-linux-gnu/libc.so.6')
  cpSync('/bin/busybox', join(tree, 'usr/bin/busybox'))
  for (const applet of must('/bin/busybox', ['--list'], { encoding: 'utf8' }).stdout.trim().split('\n')) {
    const path = join(tree, 'usr/bin', applet)
    if (!existsSync(path)) symlinkSync('busybox', path)
  }
}

// Debian's /bin, /sbin and /lib are links into /usr.
function realPlace(path) {
  return path.replace(/^\/(bin|sbin|lib|lib64)\//, '/usr/$1/')
}

/** Runs the machine to its end, which says how the tests went. */
function boot(kernel, initrd, disk) {
  const console_ = join(work, 'console')
  const args = [
    '-accel',
    'tcg,thread=multi',
    '-smp',
    '2',
    '-m',
    '3072',
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    '-display',
    'none',
  ]
  args.push('-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1 cgroup_no_v1=all')
  args.push('-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`, '-serial', `file:${console_}`)
  const started = Date.now()
  const { error } = spawnSync('qemu-system-x86_64', args, { stdio: 'inherit', timeout: limitMs, killSignal: 'SIGKILL' })
  const output = readFileSync(console_, 'utf8')
  process.stdout.write(output)
  console.log(`\nthe machine ran for ${Math.round((Date.now() - started) / 1000)} s`)
  if (error) console.log(error.message)
  return /^vm-tests: 0\r?$/m.test(output) ? 0 : 1
}

function must(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
  if (result.error || result.status !== 0)
    fail(`\`${command} ${args.join(' ')}\` failed: ${result.error?.message ?? result.status}`)
  return result
}
