import { isConfigType, isIndexType, isLayerType, isManifestType } from '@containerd-ts/images'
import type { Descriptor, TransferProgress } from '@containerd-ts/interface'

/** How often a client is told how far blobs are. */
const everyMs = 300

/** Tells a client of every blob of a transfer. */
export interface ProgressTracker {
  /** A blob that belongs to the transfer, and what refers to it. Adding it again is harmless. */
  add(descriptor: Descriptor, parent?: Descriptor): void
  /** So many bytes of it were moved by now; fewer than before when it began again. */
  reached(descriptor: Descriptor, bytes: number): void
  complete(descriptor: Descriptor): void
  exists(descriptor: Descriptor): void
  /** A layer is being unpacked, or was. */
  extract(descriptor: Descriptor, state: 'extracting' | 'extracted'): void
  /** Tells what has not been told, and no more. */
  close(): void
}

interface Job {
  descriptor: Descriptor
  name: string
  parents: string[]
  bytes: number
  told: number
}

/** The name of a blob as an ingest, and in progress: as containerd's clients have it. */
export function refOf({ mediaType, digest, annotations }: Descriptor): string {
  const name = annotations['org.opencontainers.image.ref.name']
  return `${kindOf(mediaType)}-${name === undefined ? digest : `${name}@${digest}`}`
}

function kindOf(mediaType: string): string {
  if (isManifestType(mediaType)) return 'manifest'
  if (isIndexType(mediaType)) return 'index'
  if (isLayerType(mediaType)) return 'layer'
  if (isConfigType(mediaType)) return 'config'
  return mediaType === 'application/vnd.in-toto+json' ? 'attestation' : 'unknown'
}

/** `root` is what the topmost blob belongs to, `moving` how moving is called: `downloading` or `uploading`. */
export function trackProgress(
  root: string,
  moving: 'downloading' | 'uploading',
  report: ((progress: TransferProgress) => void) | undefined,
): ProgressTracker {
  if (report === undefined) {
    const nothing = () => {}
    return { add: nothing, reached: nothing, complete: nothing, exists: nothing, extract: nothing, close: nothing }
  }
  const jobs = new Map<string, Job>()

  function tell(job: Job, event: string, progress: number) {
    const { descriptor, name, parents } = job
    report?.({ event, name, parents, progress, total: descriptor.sizeBytes, descriptor })
  }
  function jobOf(descriptor: Descriptor): Job {
    const known = jobs.get(descriptor.digest)
    if (known !== undefined) return known
    const job: Job = { descriptor, name: refOf(descriptor), parents: [root], bytes: 0, told: 0 }
    jobs.set(descriptor.digest, job)
    return job
  }
  function update() {
    for (const job of jobs.values()) {
      if (job.bytes === job.told) continue
      job.told = job.bytes
      tell(job, moving, job.bytes)
    }
  }
  const timer = setInterval(update, everyMs)

  return {
    add(descriptor, parent) {
      const isNew = !jobs.has(descriptor.digest)
      const job = jobOf(descriptor)
      if (isNew && parent !== undefined) job.parents = [refOf(parent)]
      if (isNew) tell(job, 'waiting', 0)
    },
    reached(descriptor, bytes) {
      jobOf(descriptor).bytes = bytes
    },
    complete(descriptor) {
      const job = jobOf(descriptor)
      job.told = job.bytes
      tell(job, 'complete', descriptor.sizeBytes)
    },
    exists(descriptor) {
      tell(jobOf(descriptor), 'already exists', descriptor.sizeBytes)
    },
    extract(descriptor, state) {
      tell(jobOf(descriptor), state, state === 'extracted' ? descriptor.sizeBytes : 0)
    },
    close() {
      clearInterval(timer)
      update()
    },
  }
}
