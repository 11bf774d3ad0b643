import { InvalidArgumentError, type Labels, type TaskState } from '@containerd-ts/interface'

/** The labels of a container that the monitor looks at. The names are containerd's. */
export const restartLabels = {
  /** What its task should be: `running` or `stopped`. Without it, or with anything else, the container is left alone. */
  status: 'containerd.io/restart.status',
  /** When a task that should run is started again: `always`, which is the default, `no`, `unless-stopped`, `on-failure[:<times>]`. */
  policy: 'containerd.io/restart.policy',
  /** How often it was started again; kept by the monitor. */
  count: 'containerd.io/restart.count',
  /** Where the output of a task that is started again goes, for instance `file:///var/log/x.log`; nowhere without it. */
  logUri: 'containerd.io/restart.loguri',
  /** Set to `true` by clients whose user has stopped the container. */
  explicitlyStopped: 'containerd.io/restart.explicitly-stopped',
} as const

/** When a task that has stopped is started again. */
export interface RestartPolicy {
  readonly name: (typeof policyNames)[number]
  /** Of `on-failure`; 0 is no limit. */
  readonly maxRetries: number
}

export const policyNames = ['no', 'always', 'on-failure', 'unless-stopped'] as const

/** Reads the label. @throws InvalidArgumentError */
export function parsePolicy(text: string): RestartPolicy {
  const [given = '', retries, ...more] = text.split(':')
  const name = given === '' ? 'always' : policyNames.find((known) => known === given)
  if (name === undefined)
    throw new InvalidArgumentError(`restart policy ${JSON.stringify(text)} is none of ${policyNames.join(', ')}`)
  if (retries === undefined) return { name, maxRetries: 0 }
  if (name !== 'on-failure' || more.length > 0 || !/^\d+$/.test(retries))
    throw new InvalidArgumentError(
      `restart policy ${JSON.stringify(text)}: only on-failure has a number of times, as in on-failure:3`,
    )
  return { name, maxRetries: Number(retries) }
}

/** How often the monitor has started a container again. */
export function restartCount(labels: Labels): number {
  const count = Number(labels[restartLabels.count] ?? 0)
  return Number.isSafeInteger(count) && count > 0 ? count : 0
}

/**
 * What is to be done for a container to be as its labels say; undefined for nothing. A task that is not there has ended well as far as
 * anybody knows.
 *
 * @throws InvalidArgumentError for a policy that there is not
 */
export function changeFor(
  labels: Labels,
  task: Pick<TaskState, 'status' | 'exitStatus'> | undefined,
): 'start' | 'stop' | undefined {
  switch (labels[restartLabels.status]) {
    case 'stopped':
      return task === undefined || task.status === 'stopped' ? undefined : 'stop'
    case 'running':
      if (task !== undefined && ['running', 'paused', 'pausing', 'unknown'].includes(task.status)) return undefined
      return isToStart(labels, task?.exitStatus ?? 0) ? 'start' : undefined
    default:
      return undefined
  }
}

function isToStart(labels: Labels, exitStatus: number): boolean {
  const { name, maxRetries } = parsePolicy(labels[restartLabels.policy] ?? '')
  switch (name) {
    case 'always':
      return true
    case 'no':
      return false
    case 'on-failure':
      return exitStatus !== 0 && (maxRetries === 0 || restartCount(labels) < maxRetries)
    case 'unless-stopped':
      return !/^(1|t|true)$/i.test(labels[restartLabels.explicitlyStopped] ?? '')
  }
}
