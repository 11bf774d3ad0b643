import type { Handlers } from '@containerd-ts/api'
import type { ImagesDefinition } from '@containerd-ts/api/containerd/services/images/v1/images'
import { gcScheduler } from '@containerd-ts/gc-scheduler'
import type { Context } from '@containerd-ts/interface'
import { openService as open, type ServiceFixture } from '@containerd-ts/testkit/service'
import { imagesService } from '../src/index.js'

export type Fixture = ServiceFixture<Required<Handlers<typeof ImagesDefinition, Context>>>

/** The service over real plugins in a directory of its own. */
export const openService = (): Promise<Fixture> => open(gcScheduler, imagesService)
