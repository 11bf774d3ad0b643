import { type Any, packAny, typeName } from '@containerd-ts/api'
import {
  AuthRequest,
  AuthResponse,
  AuthType,
  HTTPDebug,
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
} from '@containerd-ts/api/containerd/types/transfer/transfer'
import {
  createByteSender,
  InvalidArgumentError,
  type MessageStream,
  type RegistryCredentials,
  type RegistryCredentialsRequest,
  receivedBytes,
  type TransferEnd,
} from '@containerd-ts/interface'

/** Finds a stream that the client has opened. @throws NotFound */
export type StreamLookup = (name: string) => MessageStream

/**
 * A source or a destination as clients name it. Streams are looked up at once, so that one that is missing is an error before anything
 * is done.
 *
 * @throws InvalidArgumentError, NotFound for a stream.
 */
export function transferEndOf(object: Any, stream: StreamLookup): TransferEnd {
  const { value } = object
  switch (typeName(object.typeUrl)) {
    case 'containerd.types.transfer.OCIRegistry':
      return registryOf(OCIRegistry.decode(value), stream)
    case 'containerd.types.transfer.ImageStore':
      return storedImageOf(ImageStore.decode(value))
    case 'containerd.types.transfer.ImageImportStream': {
      const { stream: name, mediaType, forceCompress } = ImageImportStream.decode(value)
      return { kind: 'import', bytes: receivedBytes(stream(name)), mediaType, forceCompress }
    }
    case 'containerd.types.transfer.ImageExportStream':
      return exportOf(ImageExportStream.decode(value), stream)
    default:
      return { kind: 'other', object }
  }
}

function registryOf({ reference, resolver }: OCIRegistry, stream: StreamLookup): TransferEnd {
  const { authStream = '', headers = {}, hostDir = '', defaultScheme = '', httpDebug = HTTPDebug.DISABLED } = resolver ?? {}
  const logsStream = httpDebug === HTTPDebug.DISABLED ? '' : (resolver?.logsStream ?? '')
  return {
    kind: 'registry',
    reference,
    headers,
    hostDir,
    defaultScheme,
    ...(authStream !== '' && { credentials: askClient(stream(authStream)) }),
    ...(logsStream !== '' && { debug: lineSender(stream(logsStream)) }),
  }
}

/** One question after the other: answers carry no number. */
function askClient(stream: MessageStream) {
  let last: Promise<unknown> = Promise.resolve()
  return (request: RegistryCredentialsRequest): Promise<RegistryCredentials | undefined> => {
    const answer = last.catch(() => {}).then(() => ask(stream, request))
    last = answer
    return answer
  }
}

async function ask(stream: MessageStream, request: RegistryCredentialsRequest): Promise<RegistryCredentials | undefined> {
  const { host, reference, wwwAuthenticate } = request
  const question = { host, reference, wwwauthenticate: [...wwwAuthenticate] }
  await stream.send(packAny('containerd.types.transfer.AuthRequest', AuthRequest, question))
  const message = await stream.receive()
  if (message === undefined) return undefined
  if (typeName(message.typeUrl) !== 'containerd.types.transfer.AuthResponse') {
    throw new InvalidArgumentError(`a question for credentials was answered with ${message.typeUrl}`)
  }
  const { authType, username, secret } = AuthResponse.decode(message.value)
  switch (authType) {
    case AuthType.CREDENTIALS:
      return { type: 'credentials', username, secret }
    case AuthType.REFRESH:
      // What clients answer that have nothing to offer.
      return secret === '' ? undefined : { type: 'refresh', username, secret }
    case AuthType.HEADER:
      return { type: 'header', username, secret }
    default:
      return undefined
  }
}

/** Lines for a client that may be slow: it then misses some rather than holding the transfer up. */
function lineSender(stream: MessageStream): (line: string) => void {
  const maxWaiting = 1000
  const sender = createByteSender(stream)
  let waiting = 0
  let last = Promise.resolve()
  return (line) => {
    if (waiting >= maxWaiting) return
    waiting++
    last = last
      .then(() => sender.write(Buffer.from(`${line}\n`)))
      .catch(() => {})
      .finally(() => {
        waiting--
      })
  }
}

function storedImageOf(image: ImageStore): TransferEnd {
  const { name, labels, platforms, allMetadata, manifestLimit, extraReferences } = image
  const anywhere = { os: '', architecture: '', variant: '', osVersion: '', osFeatures: [] }
  const unpacks = image.unpacks.map(({ platform = anywhere, snapshotter }) => ({ platform, snapshotter }))
  return { kind: 'image-store', name, labels, platforms, allMetadata, manifestLimit, extraReferences, unpacks }
}

function exportOf(exported: ImageExportStream, lookup: StreamLookup): TransferEnd {
  const { mediaType, platforms, allPlatforms, skipCompatibilityManifest, skipNonDistributable } = exported
  const stream = lookup(exported.stream)
  const sender = createByteSender(stream)
  return {
    kind: 'export',
    mediaType,
    platforms,
    allPlatforms,
    skipCompatibilityManifest,
    skipNonDistributable,
    async write(bytes) {
      try {
        for await (const piece of bytes) await sender.write(piece)
      } finally {
        stream.close()
      }
    },
  }
}
