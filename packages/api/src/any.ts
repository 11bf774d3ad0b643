import type { MessageType } from './service.js'
import { encodeMessage } from './service.js'

/** A payload of a named type, as `google.protobuf.Any` carries it. */
export interface Any {
  typeUrl: string
  value: Uint8Array
}

/** Packs a message under its bare full name, which is how containerd names types (no `type.googleapis.com/`). */
export function packAny<T>(typeUrl: string, type: MessageType<T>, message: T): Any {
  return { typeUrl, value: encodeMessage(type, message) }
}

/** The full message name of a type URL, with or without a prefix such as `type.googleapis.com/`. */
export function typeName(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
}
