import { now } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  type Container,
  type ContainerStore,
  type ContainerWrite,
  InvalidArgumentError,
  NotFoundError,
  quote,
  requireNamespace,
  updatedLabels,
  validateIdentifier,
  validateLabels,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import { ensureNamespace, type StoreDeps } from './deps.js'
import { eventTypes } from './event-types.js'
import { Turns } from './pace.js'
import { containers, ownedAny } from './tables.js'

export function createContainerStore({ view, update, publish, dirty }: StoreDeps): ContainerStore {
  return {
    async get(ctx, id) {
      const namespace = requireNamespace(ctx)
      const container = view.get(containers, namespace, id)
      if (container === undefined) throw new NotFoundError(`container ${quote(id)} in namespace ${quote(namespace)}`)
      return { ...container }
    },

    async *list(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const turns = new Turns()
      for (const { record } of view.scan(containers, namespace)) {
        if (turns.isOver) await turns.pass()
        if (matches(containerField(record))) yield { ...record }
      }
    },

    async create(ctx, given) {
      const namespace = requireNamespace(ctx)
      const stamp = now()
      const container = { ...owned(given), createdAt: stamp, updatedAt: stamp }
      validate(container, 'create container failed validation')
      await update((tx) => {
        if (tx.get(containers, namespace, container.id) !== undefined)
          throw new AlreadyExistsError(`container ${quote(container.id)}`)
        ensureNamespace(tx, namespace)
        tx.put(containers, [namespace, container.id], container)
      })
      const { id, image, runtime } = container
      await publish(ctx, namespace, '/containers/create', eventTypes.containerCreate, {
        id,
        image,
        runtime: { name: runtime.name, options: runtime.options },
      })
      return { ...container }
    },

    async update(ctx, given, fieldpaths) {
      if (given.id === '') throw new InvalidArgumentError('Container.ID required')
      const namespace = requireNamespace(ctx)
      const copy = owned(given)
      const container = await update((tx) => {
        const current = tx.get(containers, namespace, given.id)
        if (current === undefined) throw new NotFoundError(`container ${quote(given.id)}`)
        const next = { ...merge(current, copy, fieldpaths), updatedAt: now() }
        validate(next, 'update failed validation')
        tx.put(containers, [namespace, given.id], next)
        return next
      })
      const { id, image, labels, snapshotKey } = container
      await publish(ctx, namespace, '/containers/update', eventTypes.containerUpdate, {
        id,
        image,
        labels: { ...labels },
        snapshotKey,
      })
      return { ...container }
    },

    async delete(ctx, id) {
      const namespace = requireNamespace(ctx)
      await update((tx) => {
        if (tx.get(containers, namespace, id) === undefined) throw new NotFoundError(`container ${id}`)
        tx.delete(containers, namespace, id)
        tx.afterwards(() => dirty.markDeleted())
      })
      await publish(ctx, namespace, '/containers/delete', eventTypes.containerDelete, { id })
    },
  }
}

/** A record of its own memory: what came in a request is part of the whole message. */
function owned(given: ContainerWrite): ContainerWrite {
  const { runtime, spec, labels, extensions } = given
  return {
    ...given,
    labels: withoutEmptyLabels(labels),
    runtime: { name: runtime.name, ...(runtime.options && { options: ownedAny(runtime.options) }) },
    ...(spec && { spec: ownedAny(spec) }),
    extensions: Object.fromEntries(Object.entries(extensions).map(([name, extension]) => [name, ownedAny(extension)])),
  }
}

function merge(current: Container, given: ContainerWrite, fieldpaths: readonly string[]): Container {
  if (fieldpaths.length === 0) {
    if (given.snapshotter !== current.snapshotter) throw new InvalidArgumentError('container.Snapshotter field is immutable')
    if (given.runtime.name !== current.runtime.name) throw new InvalidArgumentError('container.Runtime.Name field is immutable')
    const { labels, image, snapshotKey, extensions, spec = current.spec } = given
    return { ...current, labels, image, snapshotKey, extensions, ...(spec && { spec }) }
  }
  let next = current
  for (const path of fieldpaths) {
    if (path === 'spec') next = { ...next, ...(given.spec && { spec: given.spec }) }
    else if (path === 'image') next = { ...next, image: given.image }
    else if (path === 'snapshotkey') next = { ...next, snapshotKey: given.snapshotKey }
    else if (path === 'extensions') next = { ...next, extensions: given.extensions }
    else if (path.startsWith('extensions.')) next = withExtension(next, path.slice('extensions.'.length), given)
    else next = { ...next, labels: updatedLabels(next.labels, given.labels, [path], quote(given.id)) }
  }
  return next
}

function withExtension(container: Container, name: string, given: ContainerWrite): Container {
  const { [name]: _, ...rest } = container.extensions
  const extension = Object.hasOwn(given.extensions, name) ? given.extensions[name] : undefined
  return { ...container, extensions: extension === undefined ? rest : { ...rest, [name]: extension } }
}

function validate(container: ContainerWrite, context: string): void {
  const { id, extensions, labels, runtime, snapshotter, snapshotKey } = container
  validateIdentifier(id, `${context}: container.ID`)
  if ('' in extensions) throw new InvalidArgumentError(`${context}: container.Extensions keys must not be empty`)
  validateLabels(labels, `${context}: containers.Labels`)
  if (runtime.name === '') throw new InvalidArgumentError(`${context}: container.Runtime.Name must be set`)
  if (snapshotKey !== '' && snapshotter === '') {
    throw new InvalidArgumentError(`${context}: container.Snapshotter must be set if container.SnapshotKey is set`)
  }
}

function containerField(container: Container) {
  return ([field, ...rest]: readonly string[]): string | undefined => {
    switch (field) {
      case 'id':
        return container.id
      case 'image':
        return container.image || undefined
      case 'runtime':
        return rest.length === 1 && rest[0] === 'name' ? container.runtime.name : undefined
      case 'labels':
        return fieldOfLabels(container.labels, rest)
      default:
        return undefined
    }
  }
}
