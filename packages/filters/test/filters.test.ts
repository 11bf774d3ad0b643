import { isInvalidArgument } from '@containerd-ts/interface'
import { describe, expect, it } from 'vitest'
import { fieldOfLabels, parseFilters } from '../src/index.js'

interface Thing {
  name: string
  labels: Record<string, string>
}

const things: Thing[] = [
  { name: 'foo', labels: { x: '1', 'a.b': 'dotted' } },
  { name: 'bar', labels: { 'a/b': 'q', 'a b.c': 's' } },
  { name: 'f/o', labels: {} },
  { name: 'abc.def', labels: { '': 'nothing' } },
]

function select(...filters: string[]): string[] {
  const matches = parseFilters(filters)
  const field = (thing: Thing) => (path: readonly string[]) =>
    path[0] === 'name' ? thing.name || undefined : path[0] === 'labels' ? fieldOfLabels(thing.labels, path.slice(1)) : undefined
  return things.filter((thing) => matches(field(thing))).map((thing) => thing.name)
}

function failure(filter: string): string {
  try {
    parseFilters([filter])
  } catch (error) {
    expect(isInvalidArgument(error)).toBe(true)
    return (error as Error).message
  }
  throw new Error(`${JSON.stringify(filter)} was accepted`)
}

describe('matching', () => {
  it.each<[string[], string[]]>([
    [[], ['foo', 'bar', 'f/o', 'abc.def']],
    [[''], ['foo', 'bar', 'f/o', 'abc.def']],
    [
      ['name==foo', ''],
      ['foo', 'bar', 'f/o', 'abc.def'],
    ],
    [['name==foo, labels.x'], ['foo']],
    [['name==bar,labels.x'], []],
    [
      ['name==foo', 'name==bar'],
      ['foo', 'bar'],
    ],
    [['labels."a/b"==q'], ['bar']],
    [['labels.a.b==dotted'], ['foo']],
    [['"labels".a.b'], ['foo']],
    [['labels."a b".c'], ['bar']],
    [['labels'], []],
    [
      ['labels.x!=1'],
      ['bar', 'f/o', 'abc.def'], // absent counts as ""
    ],
    [['labels.x!=""'], ['foo']],
    [['labels.x==""'], []],
    [['name~=^abc\\.def$'], ['abc.def']],
    [['name~=/^f/'], ['foo', 'f/o']],
    [['name~=|f/o|'], ['f/o']],
    [['name~=/f\\/o/'], ['f/o']],
    [['name~="(?i)FO{2}\\\\z"'], ['foo']],
    [['name~=[[:alpha:]]{3}$'], ['foo', 'bar', 'abc.def']],
    [['name~=^fo.*$'], ['foo']],
    [['name~=(unclosed'], []],
    [['name~=(?=f)'], []],
    [['labels.x~=^$'], ['bar', 'f/o', 'abc.def']],
    [['name == foo'], ['foo']],
    [[' name== foo, name'], ['foo']],
    [['name=="\\x66\\u006f\\157"'], ['foo']],
  ])('%j', (filters, expected) => {
    expect(select(...filters)).toEqual(expected)
  })

  it('finds no label on the prototype', () => {
    expect(select('labels.constructor', 'labels.toString')).toEqual([])
  })

  it('is not slowed by a hostile expression', () => {
    const matches = parseFilters(['name~=|^(a+)+$|'])
    const started = performance.now()
    expect(matches(() => `${'a'.repeat(2000)}!`)).toBe(false)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})

describe('accepted', () => {
  it.each([
    '1name',
    'x==""',
    'topic~=|^/tasks/|',
    'x~=/f\\/o/',
    "x=='a'",
    'x==a|b/c"d',
    'a. b',
    'type==X, id==Y',
    'x==äöü',
    'x~="\\"|"',
  ])('%s', (filter) => {
    expect(() => parseFilters([filter])).not.toThrow()
  })
})

describe('rejected', () => {
  it.each([
    ['name=foo', '[name >|=|< foo]: unsupported operator "="'],
    ['name===foo', '[name >|=|< ==foo]: unsupported operator "==="'],
    ['name==', '[name==]: expected value or quoted'],
    ['name,', '[name,]: expected field or quoted'],
    ['labels.', '[labels.]: expected field or quoted'],
    ['labels..a', '[labels. >|.|< a]: expected field or quoted'],
    ['labels.my-key', '[labels.my >|-|< key]: expected an operator ("=="|"!="|"~=")'],
    ['labels.a/b', '[labels.a >|/|< b]: expected an operator ("=="|"!="|"~=")'],
    ['name==/foo/', '[name== >|/|< foo/]: invalid quote encountered'],
    ['name==|foo|', '[name== >|||< foo|]: invalid quote encountered'],
    ['x~=/a\\w/', 'illegal escape sequence'],
    ['x~=.*', '[x~= >|.|< *]: expected value or quoted'],
    ['x~=fo{1,2}', 'expected an operator'],
    ['x=="a', 'quoted literal not terminated'],
    ['x=="a\nb"', 'quoted literal not terminated'],
    ['x=="\\ud800"', 'illegal escape sequence'],
    ['a ,b', 'expected an operator'],
    ['a==b ,c', '[a==b >| |< ,c]: unexpected input:  '],
    ['a==b ', 'unexpected input'],
    ['a ', 'expected an operator'],
    ['"a"b', 'expected an operator'],
    ['a==b"c" d', 'unexpected input'],
    [' ', 'expected field or quoted'],
  ])('%j', (filter, reason) => {
    const message = failure(filter)
    expect(message).toMatch(/^filters: parse error: /)
    expect(message).toContain(reason)
  })
})
