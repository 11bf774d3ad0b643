import { type Process, Status } from '@containerd-ts/api/containerd/v1/types/task'
import type { TaskState, TaskStatus } from '@containerd-ts/interface'

const statuses: Readonly<Record<TaskStatus, Status>> = {
  unknown: Status.UNKNOWN,
  created: Status.CREATED,
  running: Status.RUNNING,
  stopped: Status.STOPPED,
  paused: Status.PAUSED,
  pausing: Status.PAUSING,
}

/** A process as the API shows it. */
export function toProcess(state: TaskState): Process {
  const { containerId, id, pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt } = state
  return { containerId, id, pid, status: statuses[status], stdin, stdout, stderr, terminal, exitStatus, exitedAt }
}
