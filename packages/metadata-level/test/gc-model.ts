/** Garbage collection as it is explained, not as it is fast: every object asks over and over whether something keeps it. */
export interface World {
  nowMs: number
  leases: {
    id: string
    labels: Record<string, string>
    resources: { type: 'content' | 'images' | 'snapshots/s' | 'ingests'; id: string }[]
  }[]
  images: { name: string; target: string; labels: Record<string, string> }[]
  containers: { id: string; snapshotKey: string; labels: Record<string, string> }[]
  contents: { digest: string; labels: Record<string, string> }[]
  snapshots: { key: string; parent: string; labels: Record<string, string> }[]
  ingests: { ref: string; expiresAtMs?: number; expected?: string }[]
}

interface Thing {
  /** Kind and id. */
  name: string
  root: boolean
  labels: Record<string, string>
  /** What it names other than by labels. */
  names: string[]
}

const expired = (labels: Record<string, string>, nowMs: number) => {
  const time = Date.parse(labels['containerd.io/gc.expire'] ?? '')
  return time <= nowMs
}

/** Names of what survives, sorted. */
export function survivors(world: World): string[] {
  const rooted = (labels: Record<string, string>) => Object.keys(labels).some((key) => key.startsWith('containerd.io/gc.root'))
  const things: Thing[] = [
    ...world.images.map(({ name, target, labels }) => ({
      name: `image ${name}`,
      root: !expired(labels, world.nowMs),
      labels,
      names: [`content ${target}`],
    })),
    ...world.containers.map(({ id, snapshotKey, labels }) => ({
      name: `container ${id}`,
      root: true,
      labels,
      names: snapshotKey === '' ? [] : [`snapshot ${snapshotKey}`],
    })),
    ...world.contents.map(({ digest, labels }) => ({ name: `content ${digest}`, root: rooted(labels), labels, names: [] })),
    ...world.snapshots.map(({ key, parent, labels }) => ({
      name: `snapshot ${key}`,
      root: rooted(labels),
      labels,
      names: parent === '' ? [] : [`snapshot ${parent}`],
    })),
    ...world.ingests.map(({ ref, expiresAtMs, expected }) => ({
      name: `ingest ${ref}`,
      root: expiresAtMs !== undefined && expiresAtMs > world.nowMs,
      labels: {},
      names: expected === undefined ? [] : [`content ${expected}`],
    })),
  ]
  const kinds = { content: 'content', images: 'image', 'snapshots/s': 'snapshot', ingests: 'ingest' }
  const live = world.leases.filter(({ labels }) => !expired(labels, world.nowMs))
  const listed = (flat: boolean) =>
    live
      .filter(({ labels }) => 'containerd.io/gc.flat' in labels === flat)
      .flatMap(({ resources }) => resources.map(({ type, id }) => `${kinds[type]} ${id}`))

  const full = new Set([...things.filter(({ root }) => root).map(({ name }) => name), ...listed(false)])
  const flat = new Set(listed(true))
  // What is named and not there keeps nothing.
  const there = new Set(things.map(({ name }) => name))
  for (let size = -1; size !== full.size + flat.size; ) {
    size = full.size + flat.size
    for (const thing of things) {
      if (flat.has(thing.name)) for (const name of thing.names) flat.add(name)
      for (const [label, value] of Object.entries(thing.labels))
        if (labelled(label, value, 'containerd.io/gc.bref.').some((name) => full.has(name) && there.has(name)))
          full.add(thing.name)
      if (!full.has(thing.name)) continue
      for (const name of thing.names) full.add(name)
      for (const [label, value] of Object.entries(thing.labels))
        for (const name of labelled(label, value, 'containerd.io/gc.ref.')) full.add(name)
    }
  }
  return [
    ...things.map(({ name }) => name).filter((name) => full.has(name) || flat.has(name)),
    ...live.map(({ id }) => `lease ${id}`),
  ].sort()
}

/** What a label of that prefix names. */
function labelled(label: string, value: string, prefix: string): string[] {
  const match = /^(content|image|container|snapshot\.s)(?:[./].*)?$/.exec(
    label.startsWith(prefix) ? label.slice(prefix.length) : '',
  )
  if (match === null || (match[1] === 'container' && !prefix.includes('bref'))) return []
  return [`${match[1] === 'snapshot.s' ? 'snapshot' : match[1]} ${value}`]
}
