import { createGrpcClient } from '@containerd-ts/api'
import { EventsDefinition } from '@containerd-ts/api/containerd/services/events/v1/events'
import { Any } from '@containerd-ts/api/google/protobuf/any'
import { Client, credentials } from '@grpc/grpc-js'
import { command, UsageError } from './command.js'
import { addressOf } from './configuration.js'

/** Shims without a ttrpc connection call the daemon's binary for this. */
export const publish = command({
  words: ['publish'],
  summary: 'publish the event on standard input, a serialized google.protobuf.Any',
  options: {
    namespace: { type: 'string', value: 'NS', doc: 'namespace of the event' },
    topic: { type: 'string', value: 'TOPIC', doc: 'topic of the event, for instance /tasks/oom; must be given' },
  },
  async run({ values }) {
    if (values.topic === undefined || values.topic === '') throw new UsageError('publish needs --topic')
    await publishEvent({ address: addressOf(values), namespace: values.namespace ?? '', topic: values.topic })
  },
})

async function publishEvent(options: { address: string; namespace: string; topic: string }): Promise<void> {
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
