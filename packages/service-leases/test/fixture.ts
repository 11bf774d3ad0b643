import type { Handlers } from '@containerd-ts/api'
import type { LeasesDefinition } from '@containerd-ts/api/containerd/services/leases/v1/leases'
import { gcScheduler } from '@containerd-ts/gc-scheduler'
import type { Context } from '@containerd-ts/interface'
import { openService as open, type ServiceFixture } from '@containerd-ts/testkit/service'
import { leaseManager, leasesService } from '../src/index.js'

export type Fixture = ServiceFixture<Required<Handlers<typeof LeasesDefinition, Context>>>

/** The service over real plugins in a directory of its own. */
export const openService = (): Promise<Fixture> => open(gcScheduler, leaseManager, leasesService)
