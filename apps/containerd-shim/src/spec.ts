import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the shim itself reads of an OCI runtime spec. */
export interface Spec {
  annotations: Readonly<Record<string, string>>
  namespaces: readonly { type: string; path: string }[]
}

/** Reads `config.json` of a bundle. @throws when it is missing or no JSON. */
export function readSpec(bundle: string): Spec {
  const spec: unknown = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
  const linux = field(spec, 'linux')
  const namespaces: unknown = field(linux, 'namespaces')
  return {
    annotations: Object.fromEntries(
      Object.entries(field(spec, 'annotations') ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    ),
    namespaces: Array.isArray(namespaces)
      ? namespaces.map((namespace: unknown) => ({ type: text(field(namespace, 'type')), path: text(field(namespace, 'path')) }))
      : [],
  }
}

function field(object: unknown, key: string): unknown {
  return typeof object === 'object' && object !== null ? (object as Record<string, unknown>)[key] : undefined
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/**
 * Whether processes of the container may outlive its first one, because that one does not head a pid namespace of their own. A spec
 * that cannot be read counts as shared: killing once more does no harm.
 */
export function sharesPidNamespace(bundle: string): boolean {
  try {
    const pid = readSpec(bundle).namespaces.find((namespace) => namespace.type === 'pid')
    return pid === undefined || pid.path !== ''
  } catch {
    return true
  }
}

const groupAnnotations = ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id']

/** The id that containers share a shim by; undefined when the container asks for none. */
export function groupOf(bundle: string): string | undefined {
  let annotations: Spec['annotations']
  try {
    annotations = readSpec(bundle).annotations
  } catch {
    return undefined
  }
  return groupAnnotations.map((name) => annotations[name]).find((value) => value !== undefined && value !== '')
}
