/** The Tasks service: containers that run. */
import { TasksDefinition } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import { bindService } from '@containerd-ts/interface'
import { PluginType, type Registration, register } from '@containerd-ts/plugin'
import { createTasks } from './tasks.js'

export const tasksService: Registration<typeof PluginType.GRPC> = {
  type: PluginType.GRPC,
  id: 'tasks',
  requires: [PluginType.Metadata, PluginType.RuntimeV2],
  after: [PluginType.Differ],
  init(ic) {
    const [differ] = ic.getAll(PluginType.Differ).values()
    const handlers = createTasks({ runtime: ic.get(PluginType.RuntimeV2), metadata: ic.get(PluginType.Metadata), differ })
    return { services: [bindService(TasksDefinition, handlers)] }
  },
}

export { createTasks, type TasksDeps } from './tasks.js'

register(tasksService)
