import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mustExec } from '@containerd-ts/testkit'

const workspace = resolve(fileURLToPath(import.meta.url), '../../../..')

/** A packed package. */
export interface PackedPackage {
  readonly manifest: { readonly name: string; readonly version: string }
  /** Path of its tarball. */
  readonly tarball: string
  /** Its digest as npm writes it. */
  readonly integrity: string
}

/** By name. */
export type Packages = ReadonlyMap<string, PackedPackage>

/** Packs every published package of the workspace, built before, into `directory`. */
export async function packWorkspace(directory: string): Promise<Packages> {
  const filters = ['--filter', './packages/*', '--filter', './apps/*']
  await mustExec('pnpm', ['--recursive', ...filters, 'pack', '--pack-destination', directory], { cwd: workspace })
  const packages = new Map<string, PackedPackage>()
  for (const file of await readdir(directory)) {
    if (!file.endsWith('.tgz')) continue
    const tarball = join(directory, file)
    const manifest = JSON.parse(await mustExec('tar', ['-xzOf', tarball, 'package/package.json']))
    const integrity = `sha512-${createHash('sha512')
      .update(await readFile(tarball))
      .digest('base64')}`
    packages.set(manifest.name, { manifest, tarball, integrity })
  }
  return packages
}
