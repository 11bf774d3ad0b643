import { createGrpcClient } from '@containerd-ts/api'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/v1/events'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { Client, credentials } from '@grpc/grpc-js'

/** Publishes the event on standard input; shims without a ttrpc connection call the daemon's binary for this. */
export async function publish(options: { address: string; namespace: string; topic: string }): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk)
  const connection = new Client(`unix:${options.address}`, credentials.createInsecure())
  try {
    const events = createGrpcClient(EventsDefinition, connection, { 'containerd-namespace': options.namespace })
    await events.publish({ topic: options.topic, event: Any.decode(Buffer.concat(chunks)) }, { timeoutMs: 5000 })
  } finally {
    connection.close()
  }
}
