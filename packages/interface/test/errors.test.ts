import { expect, test } from 'vitest'
import {
  AlreadyExistsError,
  ContainerdError,
  FailedPreconditionError,
  fromStatus,
  InvalidArgumentError,
  isErrno,
  isNotFound,
  NotFoundError,
  StatusCode,
  toStatus,
  UnknownError,
} from '../src/index.js'

test('messages end in the text of their class, once', () => {
  expect(new NotFoundError('image "a"').message).toBe('image "a": not found')
  expect(new NotFoundError('image "a": not found').message).toBe('image "a": not found')
  expect(new NotFoundError('not found').message).toBe('not found')
  expect(new InvalidArgumentError('x').message).toBe('x: invalid argument')
  expect(new UnknownError('exit status 1').message).toBe('exit status 1')
})

test('errors are recognised by their code, whatever copy made them', () => {
  expect(isNotFound(new NotFoundError('x'))).toBe(true)
  expect(isNotFound({ code: 'NotFound' })).toBe(true)
  expect(isNotFound(new AlreadyExistsError('x'))).toBe(false)
  expect(isNotFound(undefined)).toBe(false)
  expect(isErrno(Object.assign(new Error('x'), { code: 'ENOENT' }), 'ENOENT')).toBe(true)
})

test.each([
  [
    new FailedPreconditionError('namespace is required'),
    StatusCode.FailedPrecondition,
    'namespace is required: failed precondition',
  ],
  [new Error('raw'), StatusCode.Unknown, 'raw'],
  [Object.assign(new Error('open'), { code: 'ENOENT' }), StatusCode.Unknown, 'open'],
  ['a string', StatusCode.Unknown, 'a string'],
  [AbortSignal.abort().reason, StatusCode.Canceled, 'context canceled'],
  [new DOMException('x', 'TimeoutError'), StatusCode.DeadlineExceeded, 'context deadline exceeded'],
])('%s has a status', (error, code, message) => {
  expect(toStatus(error)).toEqual({ code, message })
})

test('a status survives a hop', () => {
  for (const [name, code] of Object.entries(StatusCode)) {
    if (name === 'OK') continue
    const error = fromStatus({ code, message: 'x' })
    expect(error.code).toBe(name)
    expect(fromStatus(toStatus(error)).message).toBe(error.message)
  }
  expect(fromStatus({ code: 99, message: 'x' })).toEqual(new ContainerdError('Unknown', 'x'))
})
