import { packAny, zeroTimestamp } from '@containerd-ts/api'
import { CheckpointOptions, Options } from '@containerd-ts/api/containerd/runc/v1/options'
import { CreateTaskRequest } from '@containerd-ts/api/containerd/services/tasks/v1/tasks'
import {
  background,
  type Container,
  type ContainerStore,
  type CreateTask,
  type MetadataStore,
  NotFoundError,
  type TaskRuntime,
} from '@containerd-ts/interface'
import { type AnyRegistration, load, PluginType, silentLogger } from '@containerd-ts/plugin'
import { expect, test } from 'vitest'
import { tasksService } from '../src/index.js'

const containerOptions = packAny('containerd.runc.v1.Options', Options, Options.fromPartial({ binaryName: 'crun' }))
const container: Container = {
  id: 'c',
  labels: {},
  image: '',
  runtime: { name: 'io.containerd.runc.v2', options: containerOptions },
  spec: { typeUrl: 'spec', value: Buffer.from('{}') },
  snapshotter: '',
  snapshotKey: '',
  createdAt: zeroTimestamp,
  updatedAt: zeroTimestamp,
  extensions: {},
  sandbox: '',
}

async function service(runtime: Partial<TaskRuntime>) {
  const containers: Partial<ContainerStore> = {
    get: (_ctx, id) =>
      id === 'c' ? Promise.resolve(container) : Promise.reject(new NotFoundError(`container "${id}" in namespace "ns"`)),
  }
  const plugins: AnyRegistration[] = [
    { type: PluginType.Metadata, id: 'level', init: () => ({ containers }) as MetadataStore },
    { type: PluginType.RuntimeV2, id: 'task', init: () => runtime },
  ]
  const set = await load([...plugins, tasksService], { root: '/r', state: '/s', log: silentLogger })
  const handlers = set.get(PluginType.GRPC).services[0]?.handlers
  return (method: string, request: unknown, namespace = 'ns') => handlers?.[method]?.(background(namespace), request)
}

test('a task is completed by its container, and its own options go first', async () => {
  const created: CreateTask[] = []
  const call = await service({
    create: async (_ctx, task) => {
      created.push(task)
      return 42
    },
  })
  expect(await call('create', CreateTaskRequest.fromPartial({ containerId: 'c' }))).toEqual({ containerId: 'c', pid: 42 })
  const options = packAny('containerd.runc.v1.Options', Options, Options.fromPartial({ criuImagePath: '/checkpoint' }))
  await call('create', CreateTaskRequest.fromPartial({ containerId: 'c', options, runtimePath: '/bin/other-shim' }))
  expect(created).toMatchObject([
    { runtime: 'io.containerd.runc.v2', options: containerOptions, spec: container.spec, checkpointPath: '' },
    { runtime: '/bin/other-shim', options, checkpointPath: '/checkpoint' },
  ])
})

test('without the container there is no task', async () => {
  const call = await service({})
  for (const method of ['create', 'start', 'delete', 'get', 'kill', 'pause', 'wait', 'update', 'listPids']) {
    await expect(call(method, CreateTaskRequest.fromPartial({ containerId: 'other' }))).rejects.toMatchObject({
      code: 'NotFound',
    })
  }
  await expect(call('list', {}, '')).rejects.toMatchObject({ code: 'FailedPrecondition' })
})

test('exec ids are checked before anything is asked', async () => {
  const call = await service({})
  await expect(call('exec', { containerId: 'c', execId: '' })).rejects.toThrow('exec id cannot be empty')
  await expect(call('exec', { containerId: 'c', execId: '../x' })).rejects.toMatchObject({ code: 'InvalidArgument' })
})

test('a task without figures is left out of the metrics', async () => {
  const task = { pid: 1, status: 'running' as const, exitStatus: 0, stdin: '', stdout: '', stderr: '', terminal: false }
  const call = await service({
    list: async () => ['a', 'b', 'd'].map((id) => ({ ...task, id, containerId: id })),
    stats: async (_ctx, id) => {
      if (id === 'b') throw new Error('gone')
      return { typeUrl: 'm', value: Buffer.from(id) }
    },
  })
  expect(await call('metrics', { filters: ['id==a', 'id==b'] })).toMatchObject({ metrics: [{ id: 'a', data: { typeUrl: 'm' } }] })
})

test('a checkpoint needs a directory, or a differ for the content store', async () => {
  const call = await service({ checkpoint: async () => {} })
  await expect(call('checkpoint', { containerId: 'c', options: undefined })).rejects.toMatchObject({
    code: 'Unimplemented',
    message: expect.stringContaining('without a differ'),
  })
  const options = packAny(
    'containerd.runc.v1.CheckpointOptions',
    CheckpointOptions,
    CheckpointOptions.fromPartial({ imagePath: '/d' }),
  )
  expect(await call('checkpoint', { containerId: 'c', options })).toEqual({ descriptors: [] })
})

test('an exec process is removed by its id only', async () => {
  const call = await service({ delete: () => Promise.reject(new Error('must not be asked')) })
  await expect(call('deleteProcess', { containerId: 'c', execId: '' })).rejects.toMatchObject({ code: 'InvalidArgument' })
})

test('options that the runtime cannot read are refused, empty ones are those of the container', async () => {
  const created: CreateTask[] = []
  const call = await service({
    create: async (_ctx, task) => {
      created.push(task)
      return 1
    },
  })
  const foreign = CreateTaskRequest.fromPartial({
    containerId: 'c',
    options: { typeUrl: 'other.Options', value: Buffer.from('x') },
  })
  await expect(call('create', foreign)).rejects.toThrow('invalid task create option for io.containerd.runc.v2')
  await call('create', CreateTaskRequest.fromPartial({ containerId: 'c', options: { typeUrl: 'containerd.runc.v1.Options' } }))
  expect(created).toMatchObject([{ options: containerOptions }])
})

test('a shim that answers nonsense leaves the state unknown, one that is gone does not', async () => {
  const call = await service({
    state: (_ctx, _id, execId) => Promise.reject(execId === 'gone' ? new NotFoundError('process') : new Error('nonsense')),
  })
  expect(await call('get', { containerId: 'c', execId: '' })).toMatchObject({ process: { id: 'c', status: 0 } })
  await expect(call('get', { containerId: 'c', execId: 'gone' })).rejects.toMatchObject({ code: 'NotFound' })
})
