import { lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BuiltImage, buildImage, mustExec } from '@containerd-ts/testkit'

/** What the image is made of. */
export interface LargeImage extends BuiltImage {
  files: number
  megabytes: number
}

const targetFiles = 25_000
const targetBytes = 800_000_000
const layerCount = 4
// Few images consist of files much larger than that.
const largestFile = 64_000_000

/** Builds an image of 25,000 files and 800 MB, or as much as there is, in four layers out of what lies in this machine's /usr. */
export async function buildLargeImage(dir: string): Promise<LargeImage> {
  await mkdir(dir, { recursive: true })
  const files = await sample('/usr')
  const tars: string[] = []
  let sizeBytes = 0
  for (const file of files) sizeBytes += file.sizeBytes
  const perLayer = Math.ceil(files.length / layerCount)
  for (let index = 0; index < layerCount; index++) {
    const list = join(dir, `list-${index}`)
    const tar = join(dir, `layer-${index}.tar`)
    const paths = files.slice(index * perLayer, (index + 1) * perLayer).map(({ path }) => path)
    await writeFile(list, paths.join('\0'))
    await mustExec('tar', ['-C', '/', '--null', '--no-recursion', '--sort=name', '-cf', tar, '-T', list], {
      timeoutMs: 300_000,
      env: { ...process.env, LC_ALL: 'C' },
    })
    tars.push(tar)
  }
  const built = await buildImage(dir, 'docker.io/library/large:latest', tars)
  for (const tar of tars) await rm(tar)
  return { ...built, files: files.length, megabytes: Math.round(sizeBytes / 1e6) }
}

interface File {
  path: string
  sizeBytes: number
}

/** Every so manieth file of a tree, with the directories above it, in the order in which tar would meet them. */
async function sample(root: string): Promise<File[]> {
  const all: File[] = []
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() && !entry.isSymbolicLink()) continue
    const path = join(entry.parentPath, entry.name)
    const { size } = await lstat(path)
    if (size <= largestFile) all.push({ path, sizeBytes: size })
  }
  all.sort((a, b) => (a.path < b.path ? -1 : 1))
  const step = Math.max(1, all.length / targetFiles)
  const picked: File[] = []
  for (let at = 0; at < all.length; at += step) picked.push(all[Math.floor(at)] ?? { path: '/usr', sizeBytes: 0 })
  // The largest go, until the rest is as large as is wanted.
  let bytes = picked.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const dropped = new Set<File>()
  for (const file of [...picked].sort((a, b) => b.sizeBytes - a.sizeBytes)) {
    if (bytes <= targetBytes) break
    dropped.add(file)
    bytes -= file.sizeBytes
  }
  return picked.filter((file) => !dropped.has(file))
}
