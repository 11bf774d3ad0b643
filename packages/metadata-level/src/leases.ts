import { randomBytes } from 'node:crypto'
import { now } from '@containerd-ts/api'
import { fieldOfLabels, parseFilters } from '@containerd-ts/filters'
import {
  AlreadyExistsError,
  digestProblem,
  InvalidArgumentError,
  type LeaseManager,
  type LeaseResource,
  NotFoundError,
  quote,
  requireNamespace,
  UnimplementedError,
  withoutEmptyLabels,
} from '@containerd-ts/interface'
import type { View } from './database.js'
import { ensureNamespace, type StoreDeps } from './deps.js'
import { Turns } from './pace.js'
import { leases, resources } from './tables.js'

export function createLeaseManager({ view, update, dirty }: StoreDeps): LeaseManager {
  return {
    async create(ctx, { id: given, labels: givenLabels }) {
      const namespace = requireNamespace(ctx)
      const createdAt = now()
      const id = given === '' ? generateId(createdAt.nanos) : given
      const labels = withoutEmptyLabels(givenLabels)
      await update((tx) => {
        if (tx.get(leases, namespace, id) !== undefined) throw new AlreadyExistsError(`lease ${quote(id)}`)
        ensureNamespace(tx, namespace)
        tx.put(leases, [namespace, id], { labels, createdAt })
      })
      return { id, labels, createdAt }
    },

    async delete(ctx, id) {
      const namespace = requireNamespace(ctx)
      await update((tx) => {
        requireExisting(tx, namespace, id)
        for (const resource of tx.list(resources, namespace, id)) tx.delete(resources, ...resource.id)
        tx.delete(leases, namespace, id)
        tx.afterwards(() => dirty.markDeleted())
      })
    },

    async *list(ctx, filters) {
      const namespace = requireNamespace(ctx)
      const matches = parseFilters(filters)
      const turns = new Turns()
      for (const entry of view.scan(leases, namespace)) {
        if (turns.isOver) await turns.pass()
        const lease = { id: entry.id[1] ?? '', ...entry.record }
        if (
          matches(([field, ...rest]) =>
            field === 'id' ? lease.id : field === 'labels' ? fieldOfLabels(lease.labels, rest) : undefined,
          )
        ) {
          yield lease
        }
      }
    },

    async addResource(ctx, id, resource) {
      const namespace = requireNamespace(ctx)
      await update((tx) => {
        requireExisting(tx, namespace, id)
        validateResource(resource)
        tx.put(resources, [namespace, id, resource.type, resource.id], true)
      })
    },

    async deleteResource(ctx, id, resource) {
      const namespace = requireNamespace(ctx)
      await update((tx) => {
        requireExisting(tx, namespace, id)
        validateResource(resource)
        tx.delete(resources, namespace, id, resource.type, resource.id)
        tx.afterwards(() => dirty.markDeleted())
      })
    },

    async listResources(ctx, id) {
      const namespace = requireNamespace(ctx)
      requireExisting(view, namespace, id)
      return view.list(resources, namespace, id).map(({ id: [, , type = '', resource = ''] }) => ({ type, id: resource }))
    },
  }
}

function requireExisting(view: View, namespace: string, id: string): void {
  if (view.get(leases, namespace, id) === undefined) throw new NotFoundError(`lease ${quote(id)}`)
}

function validateResource({ id, type }: LeaseResource): void {
  const [kind, ...parts] = type.split('/')
  switch (kind) {
    case 'content':
    case 'ingests':
    case 'images':
      if (parts.length > 0) throw new InvalidArgumentError(`invalid resource type ${type}`)
      break
    case 'snapshots':
      if (parts.length !== 1 || parts[0] === '') throw new InvalidArgumentError(`invalid snapshot resource type ${type}`)
      break
    default:
      throw new UnimplementedError(`resource type ${type} not supported yet`)
  }
  if (id === '') throw new InvalidArgumentError(`resource of type ${type} has no id`)
  const problem = kind === 'content' ? digestProblem(id) : undefined
  if (problem !== undefined) throw new InvalidArgumentError(`invalid content resource id ${id}: ${problem}`)
}

/** The form that containerd gives to generated ids. */
function generateId(nanos: number): string {
  return `${nanos}-${randomBytes(3).toString('base64url')}`
}
