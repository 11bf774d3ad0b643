import { MountFlag } from '@containerd-ts/linux'
import { describe, expect, test } from 'vitest'
import { overlayDirectories, parseMountOptions, readonlyMounts, withoutVolatile } from '../src/index.js'
import { parseMountInfo } from '../src/mount-info.js'
import { compactLowerdirs } from '../src/overlay-options.js'

describe('options', () => {
  test('are flags, data or both, the last word winning', () => {
    expect(parseMountOptions(['rbind', 'ro', 'rw', 'nosuid', 'defaults', 'size=1m', 'mode=700', 'rslave'])).toEqual({
      flags: MountFlag.Bind | MountFlag.Recursive | MountFlag.NoSuid,
      data: ['defaults', 'size=1m', 'mode=700', 'rslave'],
      loop: false,
    })
    expect(parseMountOptions(['noexec', 'exec', 'uidmap=0:1:2', 'loop'])).toEqual({
      flags: 0,
      data: [],
      loop: true,
      uidmap: '0:1:2',
    })
    // A word of the prototype is no option.
    expect(parseMountOptions(['constructor']).data).toEqual(['constructor'])
    expect(() => parseMountOptions(['X-containerd.mkdir.path=/x'])).toThrow(
      'internal mount option "X-containerd.mkdir.path=/x" was not consumed by the mount manager',
    )
  })

  test.each([
    [['/r/snapshots/12/fs', '/r/snapshots/1/fs', '/r/snapshots/130/fs'], '/r/snapshots', '12/fs:1/fs:130/fs'],
    [['/r/a', '/r/a/b'], '/r', 'a:a/b'],
    [['/x/1', '/y/1'], undefined, undefined],
    [['/only/one'], undefined, undefined],
  ])('lower directories %j relative to %s', (lowers, directory, relative) => {
    const compact = compactLowerdirs(['a', `lowerdir=${lowers.join(':')}`, 'b'])
    expect(compact).toEqual(directory && { directory, options: ['a', 'b', `lowerdir=${relative}`] })
  })

  test('of mounts for reading only', () => {
    const overlay = (...options: string[]) => ({ type: 'overlay', source: 'overlay', target: '', options })
    const mounts = [
      overlay('workdir=/w', 'upperdir=/u', 'lowerdir=/a:/b', 'uidmap=0:1:2', 'index=off', 'volatile'),
      { type: 'bind', source: '/s', target: '', options: ['rbind', 'rw'] },
    ]
    expect(withoutVolatile(readonlyMounts(mounts))).toEqual([
      overlay('lowerdir=/u:/a:/b', 'index=off'),
      { type: 'bind', source: '/s', target: '', options: ['rbind', 'ro'] },
    ])
    expect(overlayDirectories(mounts[0]?.options ?? [])).toEqual({ upper: '/u', work: '/w', lowers: ['/a', '/b'] })
  })
})

test('mountinfo with escaped names and any number of optional fields', () => {
  const line = '36 35 98:0 /mnt1 /with\\040space\\134 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n'
  expect(parseMountInfo(line + line.replace('master:1 shared:7 ', ''))).toMatchObject([
    { id: 36, parent: 35, mountPoint: '/with space\\', optional: ['master:1', 'shared:7'], type: 'ext3', source: '/dev/root' },
    { optional: [], superOptions: ['rw', 'errors=continue'] },
  ])
})
