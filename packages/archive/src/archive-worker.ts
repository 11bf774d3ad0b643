import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { inUserNamespace, mountSync } from '@containerd-ts/linux'
import { mountAllSync, readonlyMounts, withoutVolatile } from '@containerd-ts/mount'
import { type ApplyOptions, applyLayer } from './apply.js'
import { AbortedError, createRingReader } from './byte-ring.js'
import { createChangeWriter } from './change-writer.js'
import { createChunkSink, throwIfFlowAborted } from './chunk-flow.js'
import { compareTrees } from './compare-trees.js'
import { copyTree } from './copy-tree.js'
import type { Applied, ApplyJob, Compared, CompareJob, Job, Report } from './jobs.js'
import { toSentError } from './jobs.js'
import { createMissingParents, type DirectoryAttributes, readAttributes } from './missing-parents.js'
import { type ByteSource, createTarReader } from './tar-reader.js'
import { takeThreadRoot } from './thread-root.js'
import { byteString, removeTree } from './tree-operations.js'
import { measureTree } from './tree-usage.js'
import { overlayWhiteouts, removingWhiteouts, type Whiteouts } from './whiteouts.js'
import { createZstdSource } from './zstd-source.js'

// A thread that waits for its work, with the synchronous file system calls that this is best done with. Everything that it needs is
// loaded by now: while it is in a layer's root, a path leads to the layer's files.

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
      return { type: 'measured', result: measureTree(job.path, () => throwIfStopped(job.stop)) }
    case 'copy':
      copyTree(job.source, job.target, () => throwIfStopped(job.stop))
      return { type: 'copied' }
    case 'remove':
      removeTree(byteString(job.path), () => throwIfStopped(job.stop))
      return { type: 'removed' }
  }
}

function throwIfStopped(stop: Int32Array): void {
  if (Atomics.load(stop, 0) !== 0) throw new AbortedError()
}

function report(message: Report): void {
  port?.postMessage(message, message.type === 'chunk' ? [message.bytes.buffer] : [])
}

function apply({ target, ring, encoding }: ApplyJob): Applied {
  const hash = createHash('sha256')
  let sizeBytes = 0
  const count = (bytes: Buffer) => {
    hash.update(bytes)
    sizeBytes += bytes.length
  }
  const drain = () => report({ type: 'drain' })
  // The digest is that of the decompressed stream, wherever it is decompressed.
  const reader = createRingReader(ring, encoding === 'raw' ? count : () => {}, drain)
  const source = encoding === 'raw' ? reader : observed(createZstdSource(reader), count)

  const warnings: string[] = []
  const unpack = (whiteouts: Whiteouts, model: (directory: string) => DirectoryAttributes | undefined): number => {
    const options: ApplyOptions = {
      whiteouts,
      parents: createMissingParents(model),
      userNamespace: inUser,
      checkpoint: reader.throwIfAborted,
      warn: (message) => {
        if (warnings.length < maxWarnings) warnings.push(message)
      },
    }
    const contentBytes = applyLayer(createTarReader(source), options)
    while (source.read(1 << 20).length > 0);
    return contentBytes
  }
  // Read from /proc, which is not there within the layer.
  const inUser = inUserNamespace()

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
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes, contentBytes, warnings }
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
    // A link that somebody puts in the way while the trees are walked leads nowhere.
    root.enter(directory)
    const writer = createChangeWriter(sink, { root: '/upper', ...(latestSeconds !== undefined && { latestSeconds }) })
    compareTrees(lower.length === 0 ? undefined : '/lower', '/upper', (kind, path, stat) => {
      throwIfFlowAborted(flow)
      writer.write(kind, path, stat)
    })
    writer.end()
    sink.flush()
  })
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes }
}
