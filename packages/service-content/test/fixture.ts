import type { Handlers } from '@containerd-ts/api'
import type { ContentDefinition } from '@containerd-ts/api/containerd/services/content/v1/content'
import type { Context } from '@containerd-ts/interface'
import { openService as open, type ServiceFixture } from '@containerd-ts/testkit/service'
import { contentService } from '../src/index.js'

export type Fixture = ServiceFixture<Required<Handlers<typeof ContentDefinition, Context, 'read'>>>

/** The service over real plugins in a directory of its own. */
export const openService = (): Promise<Fixture> => open(contentService)
