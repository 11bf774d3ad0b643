import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Any, typeName } from '@containerd-ts/api'
import {
  CreateOptions as LinuxCreateOptions,
  RuncOptions as LinuxRuncOptions,
} from '@containerd-ts/api/containerd/linux/runc/options'
import { Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { InvalidArgumentError } from '@containerd-ts/interface'

export type RuncOptions = Options

// By the names of their messages. The latter two are of containerd 1.x, for the runtime `io.containerd.runtime.v1.linux`.
const decoders: Readonly<Record<string, (value: Uint8Array) => Options>> = {
  'containerd.runc.v1.Options': (value) => Options.decode(value),
  'containerd.linux.runc.RuncOptions'(value) {
    const { runtime, runtimeRoot, systemdCgroup } = LinuxRuncOptions.decode(value)
    return Options.fromPartial({ binaryName: runtime, root: runtimeRoot, systemdCgroup })
  },
  'containerd.linux.runc.CreateOptions'(value) {
    const { noPivotRoot, noNewKeyring, shimCgroup, ioUid, ioGid, criuImagePath, criuWorkPath } = LinuxCreateOptions.decode(value)
    return Options.fromPartial({ noPivotRoot, noNewKeyring, shimCgroup, ioUid, ioGid, criuImagePath, criuWorkPath })
  },
}

/** Decodes the options of a task. @throws InvalidArgumentError when they are of another type or damaged. */
export function decodeOptions(options: Any | undefined): RuncOptions {
  if (options === undefined || options.typeUrl === '') return Options.fromPartial({})
  const type = typeName(options.typeUrl)
  const decode = Object.hasOwn(decoders, type) ? decoders[type] : undefined
  if (decode === undefined) throw new InvalidArgumentError(`unsupported option type ${JSON.stringify(options.typeUrl)}`)
  try {
    return decode(options.value)
  } catch (cause) {
    throw new InvalidArgumentError(`options of type ${type} cannot be decoded`, { cause })
  }
}

// The fields of options.json, named as Go writes them: the Go shim reads this file too.
const fields: Readonly<Record<string, keyof Options>> = {
  no_pivot_root: 'noPivotRoot',
  no_new_keyring: 'noNewKeyring',
  shim_cgroup: 'shimCgroup',
  io_uid: 'ioUid',
  io_gid: 'ioGid',
  binary_name: 'binaryName',
  root: 'root',
  systemd_cgroup: 'systemdCgroup',
  criu_image_path: 'criuImagePath',
  criu_work_path: 'criuWorkPath',
  task_api_address: 'taskApiAddress',
  task_api_version: 'taskApiVersion',
}

/** Keeps in the bundle what the `delete` action needs to know. */
export function writeOptions(bundle: string, options: RuncOptions): void {
  const entries = Object.entries(fields).flatMap(([name, key]) => {
    const value = options[key]
    return value === '' || value === 0 || value === false ? [] : [[name, value] as const]
  })
  writeFileSync(join(bundle, 'options.json'), JSON.stringify(Object.fromEntries(entries)), { mode: 0o600 })
  writeFileSync(join(bundle, 'runtime'), options.binaryName, { mode: 0o600 })
}

/** Reads back what {@link writeOptions} wrote; what is missing or damaged has its default. */
export function readOptions(bundle: string): RuncOptions {
  const options: Record<string, unknown> = {}
  try {
    const stored: unknown = JSON.parse(readFileSync(join(bundle, 'options.json'), 'utf8'))
    if (typeof stored === 'object' && stored !== null) {
      for (const [name, key] of Object.entries(fields)) options[key] = (stored as Record<string, unknown>)[name]
    }
  } catch {
    // The container never came so far.
  }
  try {
    const runtime = readFileSync(join(bundle, 'runtime'), 'utf8')
    if (runtime !== '') options['binaryName'] = runtime
  } catch {
    // As above.
  }
  return Options.fromPartial(options)
}

/** The OCI runtime: that of the options, or of `CONTAINERD_SHIM_RUNTIME`, or runc. */
export function runtimeOf(options: RuncOptions): string {
  return options.binaryName || process.env['CONTAINERD_SHIM_RUNTIME'] || 'runc'
}

/** Whether the runtime's processes are plain processes of the host, so that a signal may be sent to them directly. */
export function hasHostProcesses(options: RuncOptions): boolean {
  const name = basename(runtimeOf(options))
  return name === 'runc' || name === 'crun'
}
