import { createHash } from 'node:crypto'
import {
  type ContainerdError,
  DataLossError,
  digestProblem,
  InvalidArgumentError,
  NotFoundError,
  parseDigest,
  quote,
  ResourceExhaustedError,
  UnimplementedError,
} from '@containerd-ts/interface'
import { readUpTo } from './chunk-reader.js'
import { type Endpoint, expectSuccess, type RegistryRequest } from './endpoint.js'
import { collectErrors } from './first-error.js'
import { accessDenied, requestError, statusError } from './registry-error.js'
import { acceptedTypes, type Remote, type RemoteDescriptor, requestFor } from './remote.js'
import { discard, type SentAnswer } from './send.js'

const maxManifest = 8 * 1024 * 1024
const schema1 = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

/** The descriptor that a name stands for. `accept`: media types to be asked for instead of the usual ones. */
export async function resolve(remote: Remote, accept = acceptedTypes): Promise<RemoteDescriptor> {
  const { tag, digest } = remote.reference
  const wanted = digest ?? tag
  if (wanted === undefined) throw new InvalidArgumentError(`invalid reference ${quote(remote.name)}: object required`)
  // Who does not know what names mean may still have what a digest names.
  const hosts = remote.endpoints.filter((endpoint) =>
    digest === undefined ? endpoint.can('pull', 'resolve') : endpoint.can('pull'),
  )
  if (hosts.length === 0) throw new NotFoundError(`${remote.name}: no resolve hosts`)
  const errors = collectErrors()
  for (const kind of digest === undefined ? ['manifests'] : ['manifests', 'blobs']) {
    // Only what is no manifest anywhere can be a blob: trouble must not give it the wrong media type.
    if (!errors.isNothingElse()) break
    for (const [index, host] of hosts.entries()) {
      const request: RegistryRequest = {
        ...requestFor(remote, 'pull', index === hosts.length - 1),
        method: 'HEAD',
        target: [remote.reference.repository, kind, wanted],
        headers: { accept },
        checked: digest !== undefined,
      }
      try {
        return await ask(host, request, digest)
      } catch (error) {
        if (remote.signal.aborted) throw remote.signal.reason
        errors.add(error)
      }
    }
  }
  throw errors.chosen(() => new NotFoundError(remote.name))
}

async function ask(host: Endpoint, request: RegistryRequest, digest: string | undefined): Promise<RemoteDescriptor> {
  const { reference } = request
  const head = await host.request(request)
  if (head.status === 404) {
    await discard(head)
    throw new NotFoundError(reference)
  }
  if (head.status > 299) throw accessDenied('pull', reference, await explained(host, request, head))
  const sizeBytes = sizeOf(head)
  const known = digest ?? headerDigest(head, reference)
  if (known === undefined || sizeBytes === undefined) {
    // A host that answers only GET has done so already.
    const answer = head.method === 'GET' ? head : await host.request({ ...request, method: 'GET' })
    return measure(request, await expectSuccess(request, answer), digest)
  }
  if (head.method === 'HEAD') await discard(head)
  else head.body.cancel()
  if (sizeBytes > maxManifest) throw tooLarge(reference, `${sizeBytes} byte`)
  return { mediaType: mediaTypeOf(head, reference), digest: known, sizeBytes }
}

/** The error that an answer stands for; that of a HEAD with status 403 with what a GET is told. */
export async function explained(host: Endpoint, request: RegistryRequest, answer: SentAnswer): Promise<ContainerdError> {
  const error = await statusError(request.reference, answer)
  if (answer.status !== 403 || answer.method !== 'HEAD') return error
  try {
    const again = await host.request({ ...request, method: 'GET', last: false })
    if (again.status === 403) return await statusError(request.reference, again)
    again.body.cancel()
  } catch {
    if (request.signal.aborted) throw request.signal.reason
  }
  return error
}

async function measure(request: RegistryRequest, answer: SentAnswer, digest: string | undefined): Promise<RemoteDescriptor> {
  const { reference } = request
  let body: Awaited<ReturnType<typeof readUpTo>>
  try {
    body = await readUpTo(answer.body, maxManifest)
  } catch (error) {
    throw requestError(reference, answer.method, answer.url, error)
  }
  if (!body.complete) throw tooLarge(reference, `more than ${maxManifest} byte`)
  const { algorithm } = digest === undefined ? { algorithm: 'sha256' } : parseDigest(digest)
  const actual = `${algorithm}:${createHash(algorithm).update(body.bytes).digest('hex')}`
  if (digest !== undefined && digest !== actual) throw new DataLossError(`${reference}: unexpected digest ${actual}`)
  return { mediaType: mediaTypeOf(answer, reference), digest: actual, sizeBytes: body.bytes.length }
}

function headerDigest({ headers }: SentAnswer, reference: string): string | undefined {
  const value = headers['docker-content-digest']
  const digest = Array.isArray(value) ? value[0] : value
  if (digest === undefined || digest === '') return undefined
  const problem = digestProblem(digest)
  if (problem !== undefined)
    throw new DataLossError(`${reference}: digest of the registry ${quote(digest.slice(0, 256))}: ${problem}`)
  return digest
}

function sizeOf({ headers }: SentAnswer): number | undefined {
  const length = headers['content-length']
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

function mediaTypeOf({ headers }: SentAnswer, reference: string): string {
  const [type = ''] = (headers['content-type'] ?? '').split(';', 1)
  // A registry of old did not say what it gave, and gave this.
  if (type.trim() === 'text/plain' || type.trim() === schema1) {
    throw new UnimplementedError(`${reference}: images of media type ${schema1} are no longer supported`)
  }
  return type.trim()
}

function tooLarge(reference: string, size: string): Error {
  return new ResourceExhaustedError(`${reference}: rejecting ${size} manifest, the limit is ${maxManifest} bytes`)
}
