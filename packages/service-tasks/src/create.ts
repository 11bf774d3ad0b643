import { typeName } from '@containerd-ts/api'
import { CheckpointOptions, Options } from '@containerd-ts/api/containerd/runc/v1/options'
import type { CreateTaskRequest } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import { type Any, type Container, type CreateTask, InvalidArgumentError, UnknownError } from '@containerd-ts/interface'

const optionsType = 'containerd.runc.v1.Options'
const runcRuntimes = new Set(['io.containerd.runc.v1', 'io.containerd.runc.v2'])

/**
 * What the runtime gets: the request, completed by the container's record. Options of the task go before those of the container.
 *
 * @throws Unknown for options that a runtime of the runc family cannot read.
 */
export function taskOf(container: Container, request: CreateTaskRequest): CreateTask {
  const runtime = request.runtimePath || container.runtime.name
  const options = request.options !== undefined && request.options.value.length > 0 ? request.options : container.runtime.options
  const { stdin, stdout, stderr, terminal, rootfs } = request
  return {
    containerId: container.id,
    ...(container.spec && { spec: container.spec }),
    runtime,
    ...(options && { options }),
    rootfs,
    checkpointPath: runcOptions(container.runtime.name, options)?.criuImagePath ?? '',
    stdin,
    stdout,
    stderr,
    terminal,
  }
}

function runcOptions(runtime: string, options: Any | undefined): Options | undefined {
  if (options === undefined || !runcRuntimes.has(runtime)) return undefined
  if (options.typeUrl !== '' && typeName(options.typeUrl) !== optionsType) {
    throw new UnknownError(`invalid task create option for ${runtime}: type ${options.typeUrl}`)
  }
  try {
    return Options.decode(options.value)
  } catch (cause) {
    throw new UnknownError(`invalid task create option for ${runtime}: ${String(cause)}`, { cause })
  }
}

/** The directory that a checkpoint goes to, empty for the content store. @throws InvalidArgument for other options. */
export function checkpointPath(options: Any | undefined): string {
  if (options !== undefined && typeName(options.typeUrl) !== 'containerd.runc.v1.CheckpointOptions') {
    throw new InvalidArgumentError(`checkpoint options of type ${options.typeUrl}`)
  }
  try {
    return CheckpointOptions.decode(options?.value ?? new Uint8Array()).imagePath
  } catch (cause) {
    throw new InvalidArgumentError(`checkpoint options: ${String(cause)}`, { cause })
  }
}
