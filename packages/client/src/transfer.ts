import { type Any, type MessageType, packAny } from '@containerd-ts/api'
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
  Progress,
} from '@containerd-ts/api/containerd/types/transfer/transfer'
import { receivedBytes } from '@containerd-ts/interface'
import type { Containerd } from './connection.js'
import { architecture } from './image.js'
import { messagesOf, type OpenStream, openStream, sendBytes } from './stream.js'

/** How a transfer is made. */
export interface TransferOptions {
  /** Is told what happens. */
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
}

/** How a registry is talked to. */
export interface RegistryOptions extends TransferOptions {
  /** Asked when the registry wants to know; undefined for nobody. */
  credentials?: (host: string) => Promise<{ username: string; secret: string } | undefined>
  /** Without TLS. */
  plainHttp?: boolean
  /** Directory, on the daemon's machine, of `<host>/hosts.toml`. */
  hostDir?: string
}

/** What is pulled, and what is done with it. */
export interface PullOptions extends RegistryOptions {
  /** For instance `{ os: 'linux', architecture: 'arm64' }`. Default: that of this machine. */
  platform?: { os: string; architecture: string; variant?: string }
  /** Unpack it, for containers. Default true. */
  unpack?: boolean
  /** What the image is called afterwards. Default: its reference. */
  name?: string
}

const types = 'containerd.types.transfer'

/**
 * Has the daemon pull an image from a registry. Needs a daemon with the Transfer service: containerd 1.7 or newer.
 *
 * @throws ServiceError
 */
export async function pullImage(containerd: Containerd, reference: string, options: PullOptions = {}): Promise<void> {
  const { platform = { os: 'linux', architecture }, unpack = true, name = reference } = options
  const unpacks = unpack ? [{ platform, snapshotter: containerd.snapshotter }] : []
  await withCall(containerd, options, async (call) => {
    const source = await registryOf(call, reference, options)
    await call.transfer(source, pack('ImageStore', ImageStore, { name, platforms: [platform], unpacks }))
  })
}

/** Has the daemon push an image to a registry: all that an index lists, or what of it is for `platforms`. @throws ServiceError */
export async function pushImage(
  containerd: Containerd,
  name: string,
  reference: string,
  options: RegistryOptions & { platforms?: NonNullable<PullOptions['platform']>[] } = {},
): Promise<void> {
  const { platforms = [] } = options
  await withCall(containerd, options, async (call) => {
    const destination = await registryOf(call, reference, options)
    await call.transfer(pack('ImageStore', ImageStore, { name, platforms }), destination)
  })
}

/**
 * Has the daemon import images from an archive that is sent to it. They are named by their annotations; `prefix` and a colon come before
 * those that have no more than a tag.
 *
 * @throws ServiceError
 */
export async function importArchive(
  containerd: Containerd,
  archive: AsyncIterable<Uint8Array>,
  options: TransferOptions & { prefix?: string; unpack?: PullOptions['platform'] } = {},
): Promise<void> {
  const { prefix = '', unpack } = options
  await withCall(containerd, options, async (call) => {
    const stream = await call.open('import')
    const source = pack('ImageImportStream', ImageImportStream, { stream: stream.id })
    const destination = pack('ImageStore', ImageStore, {
      extraReferences: [{ name: prefix, isPrefix: true, allowOverwrite: true }],
      unpacks: unpack === undefined ? [] : [{ platform: unpack, snapshotter: containerd.snapshotter }],
    })
    await Promise.all([sendBytes(stream, archive), call.transfer(source, destination)])
  })
}

/** Images as an archive that the daemon makes, of this machine's platform or of all. @throws ServiceError where the archive would end. */
export async function* exportArchive(
  containerd: Containerd,
  names: readonly string[],
  options: TransferOptions & { allPlatforms?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  const { allPlatforms = false } = options
  const call = beginCall(containerd, options)
  try {
    const stream = await call.open('export')
    const source = pack('ImageStore', ImageStore, { extraReferences: names.map((name) => ({ name })) })
    const destination = pack('ImageExportStream', ImageExportStream, { stream: stream.id, allPlatforms })
    const done = call.transfer(source, destination)
    // Heard of below, after what has arrived.
    done.catch(() => {})
    yield* receivedBytes(stream)
    await done
  } finally {
    call.end()
  }
}

/** A transfer and the streams that belong to it. */
interface TransferCall {
  open(purpose: string): Promise<OpenStream>
  transfer(source: Any, destination: Any): Promise<void>
  /** Ends whatever still goes on. */
  end(): void
}

function beginCall(containerd: Containerd, { onProgress, signal }: TransferOptions): TransferCall {
  const controller = new AbortController()
  const abort = () => controller.abort(signal?.reason)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  const open = (purpose: string) => openStream(containerd, purpose, controller.signal)
  return {
    open,
    async transfer(source, destination) {
      const progress = onProgress && (await open('progress'))
      const told = progress && tell(progress, onProgress)
      await containerd.transfer.transfer(
        { source, destination, options: { progressStream: progress?.id ?? '' } },
        { signal: controller.signal },
      )
      await told
    },
    end() {
      signal?.removeEventListener('abort', abort)
      controller.abort()
    },
  }
}

async function withCall(
  containerd: Containerd,
  options: TransferOptions,
  work: (call: TransferCall) => Promise<void>,
): Promise<void> {
  const call = beginCall(containerd, options)
  try {
    await work(call)
  } finally {
    call.end()
  }
}

async function tell(stream: OpenStream, onProgress: (progress: Progress) => void): Promise<void> {
  try {
    for await (const { value } of messagesOf(stream)) onProgress(Progress.decode(value))
  } catch {
    // The transfer itself tells why.
  }
}

async function registryOf(call: TransferCall, reference: string, options: RegistryOptions): Promise<Any> {
  const { credentials, plainHttp = false, hostDir = '' } = options
  const authStream = credentials === undefined ? '' : await answerQuestions(call, credentials)
  const resolver = { authStream, hostDir, defaultScheme: plainHttp ? 'http' : '' }
  return pack('OCIRegistry', OCIRegistry, { reference, resolver })
}

/** Answers until the transfer is over; gives back the name of the stream. */
async function answerQuestions(call: TransferCall, credentials: NonNullable<RegistryOptions['credentials']>): Promise<string> {
  const stream = await call.open('credentials')
  async function answer() {
    for await (const { value } of messagesOf(stream)) {
      const { host } = AuthRequest.decode(value)
      // Whoever has none says so by an empty answer.
      const { username, secret } = (await credentials(host).catch(() => undefined)) ?? { username: '', secret: '' }
      const authType = username === '' ? AuthType.NONE : AuthType.CREDENTIALS
      await stream.send(pack('AuthResponse', AuthResponse, { authType, username, secret }))
    }
  }
  // What goes wrong with the stream shows on the transfer.
  answer().catch(() => {})
  return stream.id
}

function pack<T, P>(name: string, type: MessageType<T, P>, message: P): Any {
  return packAny(`${types}.${name}`, type, type.fromPartial(message))
}
