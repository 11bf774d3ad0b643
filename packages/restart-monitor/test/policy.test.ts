import { expect, test } from 'vitest'
import { changeFor, parsePolicy, restartLabels } from '../src/policy.js'

const { status, policy, count, explicitlyStopped } = restartLabels
const ended = (exitStatus: number) => ({ status: 'stopped', exitStatus }) as const

test.each([
  [{}, ended(1), undefined],
  [{ [status]: 'created' }, ended(1), undefined],
  [{ [status]: 'stopped' }, undefined, undefined],
  [{ [status]: 'stopped' }, ended(0), undefined],
  [{ [status]: 'stopped' }, { status: 'running', exitStatus: 0 }, 'stop'],
  [{ [status]: 'stopped' }, { status: 'paused', exitStatus: 0 }, 'stop'],
  [{ [status]: 'running' }, { status: 'running', exitStatus: 0 }, undefined],
  [{ [status]: 'running' }, { status: 'paused', exitStatus: 0 }, undefined],
  // Nobody can tell at the moment.
  [{ [status]: 'running' }, { status: 'unknown', exitStatus: 0 }, undefined],
  [{ [status]: 'running' }, { status: 'created', exitStatus: 0 }, 'start'],
  [{ [status]: 'running' }, undefined, 'start'],
  [{ [status]: 'running' }, ended(0), 'start'],
  [{ [status]: 'running', [policy]: 'no' }, ended(1), undefined],
  [{ [status]: 'running', [policy]: 'always' }, ended(0), 'start'],
  [{ [status]: 'running', [policy]: 'on-failure' }, ended(0), undefined],
  [{ [status]: 'running', [policy]: 'on-failure' }, undefined, undefined],
  [{ [status]: 'running', [policy]: 'on-failure', [count]: '100' }, ended(1), 'start'],
  [{ [status]: 'running', [policy]: 'on-failure:2', [count]: '1' }, ended(1), 'start'],
  [{ [status]: 'running', [policy]: 'on-failure:2', [count]: '2' }, ended(1), undefined],
  [{ [status]: 'running', [policy]: 'unless-stopped' }, ended(0), 'start'],
  [{ [status]: 'running', [policy]: 'unless-stopped', [explicitlyStopped]: 'true' }, ended(0), undefined],
  [{ [status]: 'running', [policy]: 'unless-stopped', [explicitlyStopped]: 'false' }, ended(0), 'start'],
] as const)('%j and a task %j: %s', (labels, task, change) => {
  expect(changeFor(labels as Record<string, string>, task)).toBe(change)
})

test.each(['sometimes', 'always:3', 'on-failure:x', 'on-failure:-1', 'on-failure:1:2', 'ALWAYS'])('%s is no policy', (text) => {
  expect(() => parsePolicy(text)).toThrow(`restart policy "${text}"`)
})
