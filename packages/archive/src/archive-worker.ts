import { createHash } from 'node:crypto'
import { closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { inUserNamespace, MountFlag, mountSync, syncFilesystemSync } from '@containerd-ts/linux'
import { mountAllSync, readonlyMounts, withoutVolatile } from '@containerd-ts/mount'
import { type ApplyOptions, applyLayer } from './apply.js'
import { AbortedError, createRingReader } from './byte-ring.js'
import { createChangeWriter } from './change-writer.js'
import { createChunkSink, throwIfFlowAborted } from './chunk-flow.js'
import { compareTrees, type OnChange } from './compare-trees.js'
import { copyTree } from './copy-tree.js'
import type { ApplyJob, Compared, CompareJob, Job, MeasureJob, Report, Unpacked } from './jobs.js'
import { toSentError } from './jobs.js'
import { createMissingParents, type DirectoryAttributes, readAttributes } from './missing-parents.js'
import { overlayGuide } from './overlay-guide.js'
import { type ByteSource, createTarReader } from './tar-reader.js'
import { comeAfterClients } from './thread-priority.js'
import { takeThreadRoot } from './thread-root.js'
import { byteString, namesIn, removeTree } from './tree-operations.js'
import { measureChanges, measureTree, type TreeUsage } from './tree-usage.js'
import { overlayWhiteouts, removeOpaqueMark, removingWhiteouts, type Whiteouts } from './whiteouts.js'
import { createZstdSource } from './zstd-source.js'

// A thread that waits for its work, with the synchronous file system calls that this is best done with. Everything that it needs is
// loaded by now: while it is in a layer's root, a path leads to the layer's files.

comeAfterClients()
const port = parentPort
if (port === null) throw new TypeError('this module is for a worker thread')
const root = takeThreadRoot()
const maxWarnings = 100

port.on('message', (job: Job) => {
  try {
    report(run(job))
  } catch (error) {
    report({ type: 'failed', error: toSentError(error), unusable: root.broken })
  }
})

function run(job: Job): Report {
  switch (job.kind) {
    case 'apply':
      return { type: 'applied', result: apply(job) }
    case 'compare':
      return { type: 'compared', result: compare(job) }
    case 'measure':
      return { type: 'measured', result: measure(job) }
    case 'copy':
      copyTree(job.source, job.target, () => throwIfStopped(job.stop))
      return { type: 'copied' }
    case 'remove':
      removeTree(byteString(job.path), () => throwIfStopped(job.stop))
      return { type: 'removed' }
  }
}

function measure({ path, base, stop }: MeasureJob): TreeUsage {
  const checkpoint = () => throwIfStopped(stop)
  return base === undefined ? measureTree(path, checkpoint) : measureChanges(base, path, checkpoint)
}

function throwIfStopped(stop: Int32Array): void {
  if (Atomics.load(stop, 0) !== 0) throw new AbortedError()
}

function report(message: Report): void {
  port?.postMessage(message, message.type === 'chunk' ? [message.bytes.buffer] : [])
}

function apply({ target, ring, encoding, digest, sync }: ApplyJob): Unpacked {
  const reader = createRingReader(ring, 0, () => report({ type: 'drain' }))
  const decoded = encoding === 'raw' ? reader : createZstdSource(reader)
  const hash = createHash('sha256')
  let sizeBytes = 0
  const source = digest
    ? observed(decoded, (bytes) => {
        hash.update(bytes)
        sizeBytes += bytes.length
      })
    : decoded
  const warnings: string[] = []
  // Read from /proc, which is not there within the layer.
  const userNamespace = inUserNamespace()
  const unpack = (whiteouts: Whiteouts, model: (directory: string) => DirectoryAttributes | undefined): number => {
    const options: ApplyOptions = {
      whiteouts,
      parents: createMissingParents(model),
      userNamespace,
      checkpoint: reader.throwIfAborted,
      warn: (message) => {
        if (warnings.length < maxWarnings) warnings.push(message)
      },
    }
    return leavingNothing(() => {
      const contentBytes = applyLayer(createTarReader(source), options)
      while (source.read(1 << 20).length > 0);
      if (sync) syncRoot()
      return contentBytes
    })
  }

  let contentBytes: number
  switch (target.kind) {
    case 'directory':
      contentBytes = within(target.path, () => unpack(removingWhiteouts(), () => undefined))
      break
    case 'overlay': {
      const { upper, lowers } = target
      contentBytes = within(upper, () => unpack(overlayWhiteouts(), (directory) => modelFrom(lowers, directory, upper)))
      break
    }
    case 'mounts':
      contentBytes = root.withPrivateMounts(target.tempRoot, (directory) => {
        mountAllSync(withoutVolatile(target.mounts), directory)
        root.enter(directory)
        return unpack(removingWhiteouts(), () => undefined)
      })
  }
  return { contentBytes, warnings, ...(digest && { stream: { digest: `sha256:${hash.digest('hex')}`, sizeBytes } }) }
}

/** When `use` fails, a root that was empty is empty again; what else was there cannot be told from what was unpacked. */
function leavingNothing<T>(use: () => T): T {
  const wasEmpty = namesIn('/').length === 0
  try {
    return use()
  } catch (error) {
    if (wasEmpty) emptyRoot()
    throw error
  }
}

function emptyRoot(): void {
  try {
    for (const name of namesIn('/')) removeTree(`/${name}`)
    removeOpaqueMark('/')
  } catch {
    // The failure that led here is the one to be told of.
  }
}

/** Writes the filesystem that the thread is in to disk. */
function syncRoot(): void {
  const fd = openSync('/', constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    syncFilesystemSync(fd)
  } finally {
    closeSync(fd)
  }
}

function within<T>(path: string, use: () => T): T {
  root.enter(path)
  try {
    return use()
  } finally {
    root.leave()
  }
}

/** What the topmost lower layer that has something at that path has there. */
function modelFrom(lowers: readonly string[], directory: string, back: string): DirectoryAttributes | undefined {
  for (const lower of lowers) {
    const found = root.from(lower, () => readAttributes(directory), back)
    if (found === 'other') return undefined
    if (found !== undefined) return found
  }
  return undefined
}

function observed(source: ByteSource, observe: (bytes: Buffer) => void): ByteSource {
  return {
    read(max) {
      const bytes = source.read(max)
      observe(bytes)
      return bytes
    },
  }
}

function compare({ lower, upper, tempRoot, latestSeconds, flow }: CompareJob): Compared {
  const hash = createHash('sha256')
  let sizeBytes = 0
  const sink = createChunkSink(flow, (bytes) => {
    hash.update(bytes)
    sizeBytes += bytes.length
    report({ type: 'chunk', bytes })
  })
  root.withPrivateMounts(tempRoot, (directory) => {
    mountSync({ source: 'tmpfs', target: directory, type: 'tmpfs', data: 'mode=0700,size=64k' })
    const trees = { lower: join(directory, 'lower'), upper: join(directory, 'upper') }
    for (const tree of Object.values(trees)) mkdirSync(tree)
    mountAllSync(withoutVolatile(lower), trees.lower)
    mountAllSync(withoutVolatile(readonlyMounts(upper)), trees.upper)
    const guide = overlayGuide(lower, upper)
    if (guide !== undefined) {
      const place = join(directory, 'guide')
      mkdirSync(place)
      mountSync({ source: guide, target: place, flags: MountFlag.Bind })
    }
    // A link that somebody puts in the way while the trees are walked leads nowhere.
    root.enter(directory)
    const writer = createChangeWriter(sink, { root: '/upper', ...(latestSeconds !== undefined && { latestSeconds }) })
    const onChange: OnChange = (kind, path, stat) => {
      throwIfFlowAborted(flow)
      writer.write(kind, path, stat)
    }
    compareTrees(lower.length === 0 ? undefined : '/lower', '/upper', onChange, {
      ...(guide !== undefined && { guide: '/guide' }),
    })
    writer.end()
    sink.flush()
  })
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes }
}
