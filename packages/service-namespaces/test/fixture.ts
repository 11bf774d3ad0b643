import type { Handlers } from '@containerd-ts/api'
import type { NamespacesDefinition } from '@containerd-ts/api/containerd/services/namespaces/v1/namespaces'
import type { Context } from '@containerd-ts/interface'
import { openService as open, type ServiceFixture } from '@containerd-ts/testkit/service'
import { namespacesService } from '../src/index.js'

export type Fixture = ServiceFixture<Required<Handlers<typeof NamespacesDefinition, Context>>>

/** The service over real plugins in a directory of its own. */
export const openService = (): Promise<Fixture> => open(namespacesService)
