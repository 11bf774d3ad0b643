import { isDocumentType } from '@containerd-ts/images'
import {
  DataLossError,
  errorCode,
  FailedPreconditionError,
  hasCode,
  InvalidArgumentError,
  NotFoundError,
  validateDigest,
} from '@containerd-ts/interface'
import { type Endpoint, expectSuccess, type RegistryRequest } from './endpoint.js'
import type { RequestBody } from './exchange.js'
import { accessDenied, statusError } from './registry-error.js'
import { type Remote, type RemoteDescriptor, requestFor } from './remote.js'
import { explained } from './resolve.js'
import { discard, isSameHost, resolveLocation, type SentAnswer } from './send.js'
import { pause } from './waiting.js'

const maxUploads = 3
const uploadWaitMs = 200

/** What is pushed, and where it may be already. */
export interface Pushed {
  descriptor: RemoteDescriptor
  body: RequestBody
  /** Repositories of the same host. */
  mountFrom: readonly string[]
}

/** What became of it. */
export type PushOutcome = 'pushed' | 'exists' | 'mounted'

/** Uploads content to the first host that takes it, from the start again when the server or the connection fails. */
export async function push(remote: Remote, pushed: Pushed): Promise<PushOutcome> {
  const { digest, mediaType, sizeBytes } = pushed.descriptor
  validateDigest(digest)
  if (mediaType === '') throw new InvalidArgumentError(`${remote.name}: descriptor media type must not be empty`)
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new InvalidArgumentError(`${remote.name}: descriptor size ${sizeBytes}`)
  const host = remote.endpoints.find((endpoint) => endpoint.can('push'))
  if (host === undefined) throw new NotFoundError(`${remote.name}: no push hosts`)
  for (let uploads = 1; ; uploads++) {
    try {
      return await pushTo(host, remote, pushed)
    } catch (error) {
      if (uploads === maxUploads || !isFromServer(error) || !hasCode(error, 'Unavailable')) throw error
      await pause(uploadWaitMs * uploads, remote.signal)
    }
  }
}

// What the source of the bytes throws is none of the server's trouble, whatever its code.
const fromServer = new WeakSet<object>()

function isFromServer(error: unknown): boolean {
  return typeof error === 'object' && error !== null && fromServer.has(error)
}

async function pushTo(host: Endpoint, remote: Remote, pushed: Pushed): Promise<PushOutcome> {
  const { descriptor } = pushed
  const common = requestFor(remote, 'pull,push', true)
  const { repository, tag, digest } = remote.reference
  const manifest = isDocumentType(descriptor.mediaType)
  // A digest in the reference says for which manifest the tag is meant.
  const object = tag !== undefined && (digest ?? descriptor.digest) === descriptor.digest ? tag : descriptor.digest
  const target = manifest ? [repository, 'manifests', object] : [repository, 'blobs', descriptor.digest]
  if (
    await exists(
      host,
      { ...common, method: 'HEAD', target, headers: { accept: `${descriptor.mediaType}, */*` } },
      descriptor,
      manifest,
    )
  ) {
    return 'exists'
  }
  if (manifest) {
    await upload(host, { ...common, method: 'PUT', target, headers: { 'content-type': descriptor.mediaType } }, pushed)
    return 'pushed'
  }
  const begun = await begin(host, common, repository, pushed)
  if (begun.answer.status === 201) {
    await discard(begun.answer)
    return begun.mounting ? 'mounted' : 'exists'
  }
  if (begun.answer.status > 299) throw accessDenied('push', remote.name, await statusError(remote.name, begun.answer))
  await discard(begun.answer)
  const location = uploadUrl(begun.answer, remote.name)
  location.search += `${location.search === '' ? '?' : '&'}digest=${encodeURIComponent(descriptor.digest)}`
  await upload(
    host,
    { ...common, method: 'PUT', target: location, headers: { 'content-type': 'application/octet-stream' } },
    pushed,
  )
  return 'pushed'
}

async function exists(
  host: Endpoint,
  request: RegistryRequest,
  { digest }: RemoteDescriptor,
  manifest: boolean,
): Promise<boolean> {
  const answer = await host.request(request)
  const byTag = manifest && !(Array.isArray(request.target) && request.target.includes(digest))
  if (answer.status === 200) {
    if (answer.method === 'HEAD') await discard(answer)
    else answer.body.cancel()
    return !byTag || answer.headers['docker-content-digest'] === digest
  }
  // Who may write need not be allowed to read.
  if (answer.status !== 404 && answer.status !== 401) throw await explained(host, request, answer)
  await discard(answer)
  return false
}

type Common = ReturnType<typeof requestFor>

/** Begins an upload, by a mount where there is something to be mounted from; the answer is a place for the bytes or status 201. */
async function begin(
  host: Endpoint,
  common: Common,
  repository: string,
  pushed: Pushed,
): Promise<{ answer: SentAnswer; mounting: boolean }> {
  const start = {
    ...common,
    method: 'POST',
    target: [repository, 'blobs', 'uploads', ''],
    headers: { 'content-length': '0' },
  } as const
  const from = closest(repository, pushed.mountFrom)
  if (from !== undefined) {
    const scopes = [...common.scopes, `repository:${from}:pull`]
    try {
      const answer = await host.request({ ...start, scopes, query: { mount: pushed.descriptor.digest, from } })
      if (answer.status >= 200 && answer.status < 300) return { answer, mounting: true }
      await discard(answer)
    } catch (error) {
      // Who may not read there may still write here.
      const code = errorCode(error)
      if (code !== 'Unauthenticated' && code !== 'PermissionDenied') throw error
    }
  }
  return { answer: await host.request(start), mounting: false }
}

/** Of other repositories, the one whose path has most of its beginning in common. */
function closest(repository: string, others: readonly string[]): string | undefined {
  const path = repository.split('/')
  let best: { repository: string; common: number } | undefined
  for (const other of others) {
    if (other === repository || other === '') continue
    const parts = other.split('/')
    const differs = path.findIndex((part, index) => part !== parts[index])
    const common = differs < 0 ? path.length : differs
    if (best === undefined || common > best.common) best = { repository: other, common }
  }
  return best?.repository
}

function uploadUrl(answer: SentAnswer, name: string): URL {
  const location = answer.headers.location ?? ''
  const about = `${name}: upload`
  if (location === '') throw new FailedPreconditionError(`${about}: no Location`)
  const url = resolveLocation(location, answer.url, about)
  // Registries behind a proxy often do not know that they are reached by TLS: the scheme in use is kept.
  const isSame = url.host === answer.url.host || isSameHost(answer.url, url)
  if (!isSame || !answer.trusted) throw new FailedPreconditionError(`${about}: sent to another host, ${url.host}`)
  url.hash = ''
  return url
}

async function upload(host: Endpoint, request: RegistryRequest, { body, descriptor }: Pushed): Promise<void> {
  let answer: SentAnswer
  let sourceFailed = false
  const open = async function* () {
    try {
      yield* body.open()
    } catch (error) {
      sourceFailed = true
      throw error
    }
  }
  try {
    // Once: a session that failed is of no more use, so it is begun anew.
    answer = await expectSuccess(request, await host.request({ ...request, body: { ...body, open }, once: true }))
  } catch (error) {
    if (!sourceFailed && typeof error === 'object' && error !== null) fromServer.add(error)
    throw error
  }
  await discard(answer)
  const digest = answer.headers['docker-content-digest']
  if (digest !== undefined && digest !== '' && digest !== descriptor.digest) {
    throw new DataLossError(`${request.reference}: got digest ${digest}, expected ${descriptor.digest}`)
  }
}
