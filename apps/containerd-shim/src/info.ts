import { readFileSync, writeSync } from 'node:fs'
import { packAny } from '@containerd-ts/api'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { RuntimeInfo } from '@containerd-ts/api/containerd/types/runtime_info'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { createReaper } from '@containerd-ts/linux'
import { runcFeatures } from './runc.js'
import { decodeOptions } from './runtime-options.js'
import { name, version } from './version.js'

/** The `-v` flag. */
export function printVersion(): void {
  writeSync(1, `${name}:\n  Version:  ${version}\n  Revision: ${revision}\n  Node.js version: ${process.version}\n\n`)
}

const revision = `v${version}`

/** The `-info` flag: what this shim and its runtime can do. */
export async function printInfo(): Promise<void> {
  const input = readFileSync(0)
  const options = decodeOptions(input.length === 0 ? undefined : Any.decode(input))
  const features = await runcFeatures(createReaper({ scope: 'own' }), options).catch(() => undefined)
  const info = RuntimeInfo.fromPartial({
    name: 'io.containerd.runc.v2',
    version: { version, revision },
    options: packAny('containerd.runc.v1.Options', Options, options),
    ...(features === undefined
      ? {}
      : { features: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/features/Features', value: features } }),
  })
  writeSync(1, RuntimeInfo.encode(info).finish())
}
