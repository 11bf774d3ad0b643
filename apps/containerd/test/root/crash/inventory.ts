import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { background, isNotFound, type Snapshotter } from '@containerd-ts/interface'
import type { Stores } from '../../stores.js'
import { bytesOf, digestOf } from './load.js'

/** What a daemon shows of itself: states by the names that the model uses. */
export async function inventory(stores: Stores): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const { name, labels } of await stores.namespaces.list(background()))
    if (name.startsWith('own-')) found.set(`namespace ${name}`, labels['text'] ?? '')
  for (const namespace of ['n0', 'n1', 'n2']) {
    const ctx = background(namespace)
    for await (const { id, labels } of stores.containers.list(ctx, []))
      found.set(`container ${namespace} ${id}`, labels['text'] ?? '')
    for await (const { name, labels } of stores.images.list(ctx, []))
      found.set(`image ${namespace} ${name}`, labels['text'] ?? '')
    for await (const { id } of stores.leases.list(ctx, [])) {
      const resources = await stores.leases.listResources(ctx, id)
      const kept = resources.filter(({ type }) => type !== 'ingests').map((resource) => resource.id)
      found.set(`lease ${namespace} ${id}`, kept.sort().join(' '))
    }
    for await (const { digest, labels, sizeBytes } of stores.content.walk(ctx, [])) {
      const text = labels['text'] ?? ''
      const whole = bytesOf(text)
      const stored = await sha(stores, namespace, digest)
      // Collected since it was listed.
      if (stored === undefined) continue
      const isWhole = sizeBytes === whole.length && digest === digestOf(whole) && stored === digest
      found.set(`content ${namespace} ${digest}`, isWhole ? text : 'damaged')
    }
    for (const { ref, offset } of await stores.content.listStatuses(ctx, []))
      if (ref.startsWith('unfinished ')) found.set(`ingest ${namespace} ${ref}`, String(offset))
    for (const [name, snapshotter] of stores.snapshotters) {
      for await (const info of snapshotter.walk(ctx, [])) {
        const { kind, parent } = await snapshotter.stat(ctx, info.name)
        if (kind !== 'committed') await snapshotter.mounts(ctx, info.name)
        found.set(`snapshot ${namespace} ${name} ${info.name}`, `${kind} of ${parent}`)
      }
    }
  }
  return found
}

/** The digest of the bytes that are there, undefined when there is no such blob any more. */
async function sha(stores: Stores, namespace: string, digest: string): Promise<string | undefined> {
  const reader = await stores.content.reader(background(namespace), digest).catch((error: unknown) => {
    if (!isNotFound(error)) throw error
    return undefined
  })
  if (reader === undefined) return undefined
  try {
    const bytes = Buffer.alloc(reader.sizeBytes)
    await reader.read(bytes, 0)
    return digestOf(bytes)
  } finally {
    await reader.close()
  }
}

/** Files below a daemon's root that nothing names after a collection. */
export async function orphans(root: string, stores: Stores): Promise<string[]> {
  const found: string[] = []
  const named = new Set<string>()
  let ingests = 0
  const snapshots = new Map<string, number>()
  for (const { name } of await stores.namespaces.list(background())) {
    const ctx = background(name)
    for await (const { digest } of stores.content.walk(ctx, [])) named.add(digest)
    ingests += (await stores.content.listStatuses(ctx, [])).length
    for (const [id, snapshotter] of stores.snapshotters)
      snapshots.set(id, (snapshots.get(id) ?? 0) + (await directoriesOf(id, snapshotter, name)))
  }
  const content = join(root, 'io.containerd.content.v1.content')
  for (const hex of await readdir(join(content, 'blobs/sha256'))) if (!named.has(`sha256:${hex}`)) found.push(`blob ${hex}`)
  const files = (await readdir(join(content, 'ingest'))).filter((name) => !name.endsWith('.ref'))
  if (files.length !== ingests) found.push(`${files.length} files of ${ingests} ingests: ${files.join(' ')}`)
  for (const [id, expected] of snapshots) {
    const directories = await readdir(join(root, `io.containerd.snapshotter.v1.${id}`, 'snapshots'))
    if (directories.length !== expected) found.push(`${directories.length} directories of ${expected} snapshots of ${id}`)
  }
  return found
}

/** How many directories the snapshots of a namespace have. */
async function directoriesOf(id: string, snapshotter: Snapshotter, namespace: string): Promise<number> {
  let directories = 0
  for await (const { kind, parent } of snapshotter.walk(background(namespace), [])) {
    // A view of the native snapshotter is its parent's own tree.
    if (id !== 'native' || kind !== 'view' || parent === '') directories++
  }
  return directories
}
