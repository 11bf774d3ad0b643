import type { Handlers } from '@containerd-ts/api'
import type { ContainersDefinition } from '@containerd-ts/api/containerd/services/containers/v1/containers'
import type { Context } from '@containerd-ts/interface'
import { openService as open, type ServiceFixture } from '@containerd-ts/testkit/service'
import { containersService } from '../src/index.js'

export type Fixture = ServiceFixture<Required<Handlers<typeof ContainersDefinition, Context>>>

/** The service over real plugins in a directory of its own. */
export const openService = (): Promise<Fixture> => open(containersService)
