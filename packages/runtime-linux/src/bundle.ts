import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Any } from '@containerd-ts/api'
import { isErrno, validateIdentifier } from '@containerd-ts/interface'
import { makeFifo } from '@containerd-ts/linux'
import { unmountRecursive } from '@containerd-ts/mount'
import { type Bootstrap, parseStoredBootstrap } from './bootstrap.js'

/*
 * <state>/<namespace>/<id>/          the bundle, 0700
 *   config.json                      the OCI spec, verbatim
 *   rootfs/                          mount point of the root filesystem
 *   log                              FIFO for what the shim has to say
 *   shim-binary-path                 the shim that was started
 *   bootstrap.json                   how to reach it
 *   work -> <root>/<namespace>/<id>  for what must not lie in memory
 *   …                                what shim and runtime add
 * <state>/<namespace>/.<id>/         a bundle on its way out
 */

/** The directory of one task. */
export interface Bundle {
  readonly namespace: string
  readonly id: string
  readonly path: string
  readonly workPath: string
}

export interface BundleRoots {
  /** For what need not survive a reboot. */
  readonly state: string
  readonly root: string
}

export function bundleOf(roots: BundleRoots, namespace: string, id: string): Bundle {
  return { namespace, id, path: join(roots.state, namespace, id), workPath: join(roots.root, namespace, id) }
}

/**
 * Makes the bundle of a task. Nothing stays when it fails.
 *
 * @throws InvalidArgumentError for what is no identifier, and the system error EEXIST when there is one.
 */
export function createBundle(roots: BundleRoots, namespace: string, id: string, spec: Any | undefined): Bundle {
  validateIdentifier(namespace, 'invalid namespace')
  validateIdentifier(id, 'invalid task id')
  const bundle = bundleOf(roots, namespace, id)
  mkdirSync(join(roots.state, namespace), { recursive: true, mode: 0o711 })
  mkdirSync(join(roots.root, namespace), { recursive: true, mode: 0o711 })
  mkdirSync(bundle.path, { mode: 0o700 })
  try {
    const group = spec === undefined ? undefined : mappedRootGroup(spec)
    if (group !== undefined) {
      // So that the container's own root, which is none here, reaches its root filesystem.
      chownSync(bundle.path, process.getuid?.() ?? 0, group)
      chmodSync(bundle.path, 0o710)
    }
    mkdirSync(join(bundle.path, 'rootfs'), { mode: 0o711 })
    rmSync(bundle.workPath, { recursive: true, force: true })
    mkdirSync(bundle.workPath, { mode: 0o711 })
    symlinkSync(bundle.workPath, join(bundle.path, 'work'))
    makeFifo(logPath(bundle), 0o700)
    if (spec !== undefined) writeFileSync(join(bundle.path, 'config.json'), spec.value)
    return bundle
  } catch (error) {
    rmSync(bundle.path, { recursive: true, force: true })
    rmSync(bundle.workPath, { recursive: true, force: true })
    throw error
  }
}

export function logPath(bundle: Bundle): string {
  return join(bundle.path, 'log')
}

/** The host's group that the root group of the container's user namespace is; undefined without one. */
function mappedRootGroup(spec: Any): number | undefined {
  const bytes = Buffer.from(spec.value.buffer, spec.value.byteOffset, spec.value.byteLength)
  // Most containers have none, and a spec is not small.
  if (!bytes.includes('"gidMappings"')) return undefined
  const { linux } = JSON.parse(bytes.toString()) as { linux?: { gidMappings?: { containerID?: number; hostID?: number }[] } }
  return linux?.gidMappings?.find((mapping) => (mapping.containerID ?? 0) === 0)?.hostID
}

/** True when a mount of the spec wants its ids mapped, for which the runtime must be able to. */
export function wantsMappedMounts(spec: Any): boolean {
  const bytes = Buffer.from(spec.value.buffer, spec.value.byteOffset, spec.value.byteLength)
  if (!bytes.includes('"uidMappings"')) return false
  const { mounts } = JSON.parse(bytes.toString()) as { mounts?: { uidMappings?: unknown[] }[] }
  return mounts?.some((mount) => (mount.uidMappings?.length ?? 0) > 0) === true
}

/**
 * Removes a bundle and its work directory. What is mounted at its root filesystem is unmounted first; files left there are not the
 * bundle's own and stop the removal.
 */
export async function deleteBundle(bundle: Bundle): Promise<void> {
  await removeRootfs(join(bundle.path, 'rootfs'))
  discard(bundle.path)
  discard(bundle.workPath)
}

async function removeRootfs(rootfs: string): Promise<void> {
  try {
    rmdirSync(rootfs)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    if (!isErrno(error, 'EBUSY') && !isErrno(error, 'ENOTEMPTY')) throw error
    await unmountRecursive(rootfs)
    rmdirSync(rootfs)
  }
}

// The name is free as soon as this returns, whatever becomes of the removal.
function discard(path: string): void {
  const hidden = path.replace(/[^/]+$/, (name) => `.${name}`)
  rmSync(hidden, { recursive: true, force: true })
  try {
    renameSync(path, hidden)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    throw error
  }
  rmSync(hidden, { recursive: true, force: true })
}

/** Keeps in the bundle how its shim is reached, for the next life of the daemon. */
export function storeShim(bundle: Bundle, binary: string, bootstrap: Bootstrap): void {
  writeFileSync(join(bundle.path, 'shim-binary-path'), binary, { mode: 0o600 })
  storeBootstrap(bundle, bootstrap)
}

export function storeBootstrap(bundle: Bundle, bootstrap: Bootstrap): void {
  const temporary = join(bundle.path, '.bootstrap.json')
  writeFileSync(temporary, JSON.stringify(bootstrap), { mode: 0o644 })
  renameSync(temporary, join(bundle.path, 'bootstrap.json'))
}

/** The shim of a bundle from an earlier life of the daemon; parts that are missing are undefined. */
export function loadShim(bundle: Bundle): { binary: string | undefined; bootstrap: Bootstrap | undefined } {
  const binary = readIfThere(join(bundle.path, 'shim-binary-path'))?.trim()
  const stored = readIfThere(join(bundle.path, 'bootstrap.json'))
  if (stored !== undefined) return { binary, bootstrap: parseStoredBootstrap(stored) }
  // As daemons before 2.0 left it.
  const address = readIfThere(join(bundle.path, 'address'))?.trim()
  return { binary, bootstrap: address === undefined || address === '' ? undefined : { version: 2, address, protocol: 'ttrpc' } }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Every bundle that is there; empty directories and those on their way out are removed, as are work directories without bundle. */
export function listBundles(roots: BundleRoots): Bundle[] {
  const bundles: Bundle[] = []
  for (const namespace of directories(roots.state)) {
    for (const id of directories(join(roots.state, namespace))) {
      const bundle = bundleOf(roots, namespace, id)
      if (id.startsWith('.')) rmSync(bundle.path, { recursive: true, force: true })
      else if (readdirSync(bundle.path).length === 0) rmdirSync(bundle.path)
      else bundles.push(bundle)
    }
  }
  const kept = new Set(bundles.map(({ workPath }) => workPath))
  for (const namespace of directories(roots.root)) {
    for (const id of directories(join(roots.root, namespace))) {
      const work = join(roots.root, namespace, id)
      if (!kept.has(work)) rmSync(work, { recursive: true, force: true })
    }
  }
  return bundles
}

function directories(path: string): string[] {
  try {
    return readdirSync(path).filter((name) => lstatSync(join(path, name)).isDirectory())
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}
