import { ContainerCreate, ContainerDelete, ContainerUpdate } from '@containerd-ts/api/containerd/events/container'
import { ContentCreate, ContentDelete } from '@containerd-ts/api/containerd/events/content'
import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from '@containerd-ts/api/containerd/events/namespace'
import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from '@containerd-ts/api/containerd/events/snapshot'
import { ImageCreate, ImageDelete, ImageUpdate } from '@containerd-ts/api/containerd/services/images/v1/events'
import type { EventType } from './deps.js'

function event<T>(name: string, type: EventType<T>['type']): EventType<T> {
  return { name, type }
}

/** The payloads of what the metadata announces. */
export const eventTypes = {
  containerCreate: event('containerd.events.ContainerCreate', ContainerCreate),
  containerUpdate: event('containerd.events.ContainerUpdate', ContainerUpdate),
  containerDelete: event('containerd.events.ContainerDelete', ContainerDelete),
  contentCreate: event('containerd.events.ContentCreate', ContentCreate),
  contentDelete: event('containerd.events.ContentDelete', ContentDelete),
  namespaceCreate: event('containerd.events.NamespaceCreate', NamespaceCreate),
  namespaceUpdate: event('containerd.events.NamespaceUpdate', NamespaceUpdate),
  namespaceDelete: event('containerd.events.NamespaceDelete', NamespaceDelete),
  snapshotPrepare: event('containerd.events.SnapshotPrepare', SnapshotPrepare),
  snapshotCommit: event('containerd.events.SnapshotCommit', SnapshotCommit),
  snapshotRemove: event('containerd.events.SnapshotRemove', SnapshotRemove),
  imageCreate: event('containerd.services.images.v1.ImageCreate', ImageCreate),
  imageUpdate: event('containerd.services.images.v1.ImageUpdate', ImageUpdate),
  imageDelete: event('containerd.services.images.v1.ImageDelete', ImageDelete),
}
