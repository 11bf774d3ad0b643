import { expect, test } from 'vitest'
import {
  formatPlatform,
  listedPlatforms,
  normalizePlatform,
  type Platform,
  parsePlatform,
  platformsOfMachine,
  platformsOfSystem,
} from '../src/index.js'

const of = (text: string): Platform => parsePlatform(text)

test.each([
  ['linux/x86_64', 'linux/amd64'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/amd64/v3', 'linux/amd64/v3'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/armel', 'linux/arm/v6'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['Linux/i386', 'linux/386'],
  ['macOS/arm64', 'darwin/arm64'],
])('%s is %s', (written, usual) => {
  expect(formatPlatform(parsePlatform(written))).toBe(usual)
})

test.each(['', '/', 'linux/', 'linux/amd64/v1/x', 'linux/am d64', 'linux(x/amd64'])('%j is no platform', (text) => {
  expect(() => parsePlatform(text)).toThrow('cannot parse platform specifier')
})

test('an operating system alone is of this machine, and so is an architecture alone', () => {
  const here = parsePlatform('linux')
  expect(here).toMatchObject({ os: 'linux', variant: '' })
  expect(parsePlatform('s390x')).toMatchObject({ os: process.platform, architecture: 's390x' })
})

test('a machine runs its own architecture, older variants and smaller ones, in that order', () => {
  const order = (machine: string, platforms: string[]) => {
    const matcher = platformsOfMachine(of(machine))
    return platforms
      .map(of)
      .filter((platform) => matcher.matches(platform))
      .sort((a, b) => matcher.compare(a, b))
      .map(formatPlatform)
  }
  const amd64 = ['linux/386', 'linux/amd64', 'linux/amd64/v2', 'linux/amd64/v3', 'linux/arm64', 'windows/amd64']
  expect(order('linux/amd64', amd64)).toEqual(['linux/amd64', 'linux/386'])
  expect(order('linux/amd64/v3', amd64)).toEqual(['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386'])
  const arm = ['linux/arm/v5', 'linux/arm/v6', 'linux/arm/v7', 'linux/arm/v8', 'linux/arm64']
  expect(order('linux/arm/v6', arm)).toEqual(['linux/arm/v6', 'linux/arm/v5'])
  expect(order('linux/arm64', arm)).toEqual(['linux/arm64', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5'])
})

test('a list takes exactly what it lists, whatever it is called', () => {
  const matcher = listedPlatforms([of('linux/arm64'), of('linux/amd64')])
  expect(matcher.matches(normalizePlatform({ os: 'linux', architecture: 'x86_64', variant: 'v1' }))).toBe(true)
  expect(matcher.matches(of('linux/386'))).toBe(false)
  expect(matcher.compare(of('linux/arm64'), of('linux/amd64'))).toBeLessThan(0)
})

test('a system takes every architecture, its own first, and features only where they are offered', () => {
  const matcher = platformsOfSystem(of('linux/amd64'))
  expect(matcher.matches(of('linux/s390x'))).toBe(true)
  expect(matcher.matches(of('windows/amd64'))).toBe(false)
  expect(matcher.compare(of('linux/amd64'), of('linux/s390x'))).toBeLessThan(0)
  const erofs = { ...of('linux/amd64'), osFeatures: ['erofs'] }
  expect(matcher.matches(erofs)).toBe(false)
  expect(platformsOfSystem(of('linux(+erofs)/amd64')).matches(erofs)).toBe(true)
})
