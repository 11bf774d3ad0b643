import { DiffDefinition } from '@containerd-ts/api/containerd/services/diff/v1/diff'
import type { Descriptor as WireDescriptor } from '@containerd-ts/api/containerd/types/descriptor'
import { DataLossError, type Descriptor, type Differ, fromWireDescriptor, toWireDescriptor } from '@containerd-ts/interface'
import { answer, type ProxyConnection } from './connection.js'

/** A differ that another process serves. That process reads and writes layers in a content store of its own choice. */
export function createRemoteDiffer(connection: ProxyConnection): Differ {
  const service = connection.service(DiffDefinition)
  return {
    async apply(ctx, descriptor, mounts, { payloads = {}, syncFs = false } = {}) {
      const request = { diff: toWireDescriptor(descriptor), mounts: [...mounts], payloads: { ...payloads }, syncFs }
      return fromWire((await answer(ctx, (options) => service.apply(request, options))).applied)
    },
    async compare(ctx, lower, upper, { mediaType = '', ref = '', labels = {}, sourceDateEpoch } = {}) {
      const request = { left: [...lower], right: [...upper], mediaType, ref, labels: { ...labels }, sourceDateEpoch }
      return fromWire((await answer(ctx, (options) => service.diff(request, options))).diff)
    },
  }
}

function fromWire(descriptor: WireDescriptor | undefined): Descriptor {
  if (descriptor === undefined) throw new DataLossError('the differ answered without a descriptor')
  return fromWireDescriptor(descriptor)
}
