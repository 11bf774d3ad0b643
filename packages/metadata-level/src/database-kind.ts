import type { DatabaseKind } from '@containerd-ts/level-records'

export const metadataDatabase: DatabaseKind = {
  name: 'metadata database',
  advice: '"containerd metadata check" says what is lost, "containerd metadata repair" rebuilds it',
}
