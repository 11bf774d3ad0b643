import { type Any, now, timestampMs } from '@containerd-ts/api'
import { BootstrapParams, LogLevel } from '@containerd-ts/api/containerd/runtime/bootstrap/v1/bootstrap'
import { DeleteResponse } from '@containerd-ts/api/containerd/task/v3/task'
import { Any as AnyMessage } from '@containerd-ts/api/google/protobuf/any'
import { type TaskExit, UnknownError } from '@containerd-ts/interface'
import { type Execution, execute, type Reaper } from '@containerd-ts/linux'
import { type Bootstrap, parseAnswer } from './bootstrap.js'
import type { Bundle } from './bundle.js'
import type { ShimScope } from './config.js'
import { passOn, type Takeover } from './kept-descriptors.js'
import { residentAddress, startResidentShim } from './resident-shim.js'
import { isNodeScript, type ShimBinary } from './shim-binary.js'

/** What every shim is told of the daemon. */
export interface ShimCommands {
  /**
   * Starts a shim, or has one that runs serve another container. One of ours takes over what another has left, at its address.
   *
   * @throws UnknownError `start failed: …`
   */
  start(binary: ShimBinary, bundle: Bundle, options: Any | undefined, scope: ShimScope, takeover?: Takeover): Promise<Bootstrap>
  /** Where the shim listens that serves a whole namespace. */
  residentAddress(binary: ShimBinary, namespace: string): string
  /** Clears away what a dead shim left of a container. @throws UnknownError */
  delete(binary: ShimBinary, bundle: Bundle): Promise<TaskExit>
  /** Asks a shim about itself: a serialized RuntimeInfo. @throws UnknownError */
  info(binary: ShimBinary, options: Any | undefined): Promise<Buffer>
}

export interface ShimCommandDeps {
  reaper: Reaper
  /** The daemon's sockets. */
  address: string
  ttrpcAddress: string
  version: string
  debug: boolean
  env: readonly string[]
  socketDir: string
  /** How long a clean-up may take, in milliseconds. */
  cleanupMs: number
}

export function createShimCommands(deps: ShimCommandDeps): ShimCommands {
  const extra = Object.fromEntries(deps.env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string]))
  /** Paths of shims that are told nothing but the options. */
  const old = new Set<string>()
  const daemonBinary = process.argv[1] ?? process.execPath

  const environment = (bundle: Bundle | undefined) => ({
    ...process.env,
    GOMAXPROCS: '2',
    MAX_SHIM_VERSION: '2',
    TTRPC_ADDRESS: deps.ttrpcAddress,
    GRPC_ADDRESS: deps.address,
    ...(bundle === undefined ? {} : { NAMESPACE: bundle.namespace }),
    ...extra,
  })

  const run = (binary: ShimBinary, args: readonly string[], options: RunOptions): Promise<Execution> => {
    const env = { ...environment(options.bundle), ...options.env }
    const [file, script] = programOf(binary)
    return execute(deps.reaper, file, {
      args: [...script, ...args],
      env,
      cwd: options.bundle?.path,
      group: 'process',
      input: options.input,
      descriptors: options.descriptors,
      separateErrors: options.separateErrors,
      signal: options.signal,
    })
  }

  const flags = (bundle: Bundle): string[] => [
    ...['-namespace', bundle.namespace, '-address', deps.address, '-publish-binary', daemonBinary, '-id', bundle.id],
    ...(deps.debug ? ['-debug'] : []),
  ]

  return {
    residentAddress: ({ release }, namespace) =>
      residentAddress({ namespace, daemonAddress: deps.address, release, socketDir: deps.socketDir }),
    start: async (binary, bundle, options, scope, takeover) => {
      if (binary.own && scope === 'namespace') {
        return startResidentShim({
          ...deps,
          program: programOf(binary),
          namespace: bundle.namespace,
          id: bundle.id,
          daemonAddress: deps.address,
          release: binary.release,
          cwd: bundle.path,
          env: environment(bundle),
          handover: takeover?.handover ?? [],
        })
      }
      const { descriptors, env: kept } = passOn(takeover?.handover ?? [], 3)
      const former = takeover === undefined ? {} : { CONTAINERD_SHIM_ADDRESS: takeover.address, ...kept }
      const env: Record<string, string> = binary.own ? { CONTAINERD_SHIM_SCOPE: scope, ...former } : {}
      const startWith = (input: Uint8Array) => run(binary, [...flags(bundle), 'start'], { bundle, input, env, descriptors })
      const optionsAlone = options === undefined ? Buffer.alloc(0) : AnyMessage.encode(options).finish()
      const isOld = old.has(binary.path) || /shim-(runc|runhcs)-v1$/.test(binary.path)
      let { status, output } = await startWith(
        isOld ? optionsAlone : BootstrapParams.encode(params(bundle, options, deps)).finish(),
      )
      // Shims from before 2.3 take the parameters for options, of a type that they do not know.
      if (status !== 0 && !isOld && /type with url .*: not found/.test(output.toString())) {
        old.add(binary.path)
        const again = await startWith(optionsAlone)
        status = again.status
        output = again.output
      }
      if (status !== 0) throw new UnknownError(`start failed: ${output.toString().trim()}: ${exitText(status)}`)
      return parseAnswer(output)
    },
    delete: async (binary, bundle) => {
      const signal = AbortSignal.timeout(deps.cleanupMs)
      const args = [...flags(bundle), '-bundle', bundle.path, 'delete']
      const { status, output, errors } = await run(binary, args, { bundle, separateErrors: true, signal })
      if (status !== 0) throw new UnknownError(`${errors.toString().trim()}: ${exitText(status)}`)
      const { pid, exitStatus, exitedAt } = DeleteResponse.decode(output)
      return { pid, exitStatus, exitedAt: exitedAt === undefined || timestampMs(exitedAt) <= 0 ? now() : exitedAt }
    },
    info: async (binary, options) => {
      const input = options === undefined ? undefined : AnyMessage.encode(options).finish()
      const { status, output, errors } = await run(binary, ['-info'], { input, separateErrors: true })
      if (status !== 0) throw new UnknownError(`${errors.toString().trim()}: ${exitText(status)}`)
      return output
    },
  }
}

interface RunOptions {
  bundle?: Bundle
  input?: Uint8Array
  descriptors?: readonly number[]
  env?: Readonly<Record<string, string>>
  separateErrors?: boolean
  signal?: AbortSignal
}

function exitText(status: number): string {
  return status > 128 ? `signal: ${status - 128}` : `exit status ${status}`
}

/** Our own shim runs on the same Node as the daemon, whatever PATH says. */
function programOf(binary: ShimBinary): [string, string[]] {
  if (!binary.own || !isNodeScript(binary.path)) return [binary.path, []]
  return [process.execPath, [binary.path]]
}

function params(bundle: Bundle, options: Any | undefined, deps: ShimCommandDeps): BootstrapParams {
  return {
    instanceId: bundle.id,
    namespace: bundle.namespace,
    logLevel: deps.debug ? LogLevel.LOG_LEVEL_DEBUG : LogLevel.LOG_LEVEL_INFO,
    containerdVersion: deps.version,
    containerdTtrpcAddress: deps.ttrpcAddress,
    containerdGrpcAddress: deps.address,
    containerdBinary: process.argv[1] ?? process.execPath,
    extensions: options === undefined ? [] : [{ value: options }],
    ...(deps.socketDir === '' ? {} : { socketDir: deps.socketDir }),
  }
}
