import { type Any, typeName } from '@containerd-ts/api'
import { ContainerCreate, ContainerDelete, ContainerUpdate } from '@containerd-ts/api/containerd/events/container'
import { ContentCreate, ContentDelete } from '@containerd-ts/api/containerd/events/content'
import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from '@containerd-ts/api/containerd/events/namespace'
import { SandboxCreate, SandboxExit, SandboxStart } from '@containerd-ts/api/containerd/events/sandbox'
import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from '@containerd-ts/api/containerd/events/snapshot'
import {
  TaskCheckpointed,
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from '@containerd-ts/api/containerd/events/task'
import { ImageCreate, ImageDelete, ImageUpdate } from '@containerd-ts/api/containerd/services/images/v1/events'
import { type FieldAdaptor, fieldOfLabels } from '@containerd-ts/filters'

interface Payload {
  decode(input: Uint8Array): unknown
}

const events: Readonly<Record<string, Payload>> = {
  ContainerCreate,
  ContainerDelete,
  ContainerUpdate,
  ContentCreate,
  ContentDelete,
  NamespaceCreate,
  NamespaceDelete,
  NamespaceUpdate,
  SandboxCreate,
  SandboxExit,
  SandboxStart,
  SnapshotCommit,
  SnapshotPrepare,
  SnapshotRemove,
  TaskCheckpointed,
  TaskCreate,
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
}

const payloads: ReadonlyMap<string, Payload> = new Map([
  ...Object.entries(events).map(([name, payload]) => [`containerd.events.${name}`, payload] as const),
  ['containerd.services.images.v1.ImageCreate', ImageCreate],
  ['containerd.services.images.v1.ImageUpdate', ImageUpdate],
  ['containerd.services.images.v1.ImageDelete', ImageDelete],
])

/**
 * The fields of a payload by their proto names, for instance `container_id` or `io.terminal`; none when its type is unknown. Only
 * text, truth values and labels can be asked for, not numbers and times.
 */
export function eventFields(event: Any): FieldAdaptor {
  const message = decode(event)
  return (fieldpath) => {
    let value: unknown = message
    for (const [index, field] of fieldpath.entries()) {
      if (typeof value !== 'object' || value === null) return undefined
      if (field === 'labels' && index === 0 && 'labels' in value) {
        return fieldOfLabels(value.labels as Record<string, string>, fieldpath.slice(1))
      }
      const name = camelCase(field)
      if (name === undefined || !Object.hasOwn(value, name)) return undefined
      value = (value as Record<string, unknown>)[name]
    }
    if (typeof value === 'boolean') return String(value)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
}

function decode(event: Any): unknown {
  try {
    return payloads.get(typeName(event.typeUrl))?.decode(event.value)
  } catch {
    // Whoever forwarded it may have sent anything; it merely matches no filter on its fields.
    return undefined
  }
}

function camelCase(field: string): string | undefined {
  return /^[a-z0-9]+(_[a-z0-9]+)*$/.test(field) ? field.replace(/_(.)/g, (_, char: string) => char.toUpperCase()) : undefined
}
