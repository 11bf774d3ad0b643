import { isInvalidArgument } from '@containerd-ts/interface'
import fc from 'fast-check'
import { RE2JS } from 're2js'
import { expect, it } from 'vitest'
import { parseFilters } from '../src/index.js'
import { compileRegex } from '../src/regex.js'

/** A condition as the language means it, and how it is written. */
interface Condition {
  path: string[]
  operator: '' | '==' | '!=' | '~='
  value: string
  text: string
}

const char = fc.constantFrom(
  'a',
  'b',
  'Z',
  '0',
  '_',
  '.',
  ',',
  '=',
  '!',
  '~',
  '/',
  '|',
  '"',
  '\\',
  ' ',
  '-',
  'é',
  '\u{1f600}',
  '\t',
  '\n',
)
const word = fc.string({ unit: char, maxLength: 5 })

function quoted(text: string, quote: string): string {
  const escaped = [...text].map((c) => (c === quote || c === '\\' ? `\\${c}` : c === '\n' ? '\\n' : c)).join('')
  return `${quote}${escaped}${quote}`
}

const element = fc.tuple(word, fc.boolean()).map(([text, bare]) => ({
  text,
  written: bare && /^[A-Za-z0-9_]+$/.test(text) ? text : quoted(text, '"'),
}))

/** Bare where that is possible and wanted, quoted otherwise. */
function writtenValue(value: string, operator: string, style: number): string {
  const bare = /^[^.,=!~/|"\s][^,\s]*$/u.test(value)
  if (bare && style === 0) return value
  return quoted(value, operator === '~=' ? (['"', '/', '|'][style] ?? '"') : '"')
}

const condition: fc.Arbitrary<Condition> = fc
  .record({
    path: fc.array(element, { minLength: 1, maxLength: 3 }),
    operator: fc.constantFrom('' as const, '==' as const, '!=' as const, '~=' as const),
    value: word,
    style: fc.nat(2),
    space: fc.constantFrom('', ' ', '\t'),
  })
  .map(({ path, operator, value, style, space }) => ({
    path: path.map(({ text }) => text),
    operator,
    // A regular expression is tested for what it means below.
    value: operator === '~=' ? RE2JS.quote(value) : value,
    text: `${space}${path.map(({ written }) => written).join(`.${space}`)}${
      operator === ''
        ? ''
        : `${space}${operator}${space}${writtenValue(operator === '~=' ? RE2JS.quote(value) : value, operator, style)}`
    }`,
  }))

type Fields = ReadonlyMap<string, string>
const fields: fc.Arbitrary<Fields> = fc.array(fc.tuple(word, word), { maxLength: 6 }).map((entries) => new Map(entries))

function holds({ path, operator, value }: Condition, object: Fields): boolean {
  const found = object.get(path.join('.'))
  if (operator === '') return found !== undefined
  if (operator === '==') return found === value
  if (operator === '!=') return (found ?? '') !== value
  return RE2JS.compile(value)
    .matcher(found ?? '')
    .find()
}

it('filters match as their conditions do: any of the filters, all of the conditions in one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(condition, { minLength: 1, maxLength: 3 }), { maxLength: 3 }),
      fields,
      fc.boolean(),
      (filters, object, related) => {
        // Most conditions would never hold for an object that they know nothing of.
        const known = new Map(object)
        if (related) for (const { path, value } of filters.flat().slice(0, 2)) known.set(path.join('.'), value)
        const matches = parseFilters(filters.map((conditions) => conditions.map(({ text }) => text).join(',')))
        const expected = filters.length === 0 || filters.some((conditions) => conditions.every((each) => holds(each, known)))
        expect(matches((path) => known.get(path.join('.')))).toBe(expected)
      },
    ),
    { numRuns: 2000 },
  )
})

it('whatever is no filter is refused as an invalid argument', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: char, maxLength: 30 }), fc.string({ unit: 'binary', maxLength: 30 })), (text) => {
      try {
        parseFilters([text])(() => 'x')
      } catch (error) {
        expect(isInvalidArgument(error)).toBe(true)
      }
    }),
    { numRuns: 3000 },
  )
})

it('simple expressions mean the same to the built-in engine as to RE2', () => {
  const piece = fc.constantFrom('a', 'b', '^', '$', '.*', '\\.', '\\/', '/', '-', '\n', 'é', ' ', '\\$', '{', ')')
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }),
      fc.string({ unit: fc.constantFrom('a', 'b', '.', '/', '-', '\n', 'é', '$'), maxLength: 8 }),
      (pieces, text) => {
        const expression = pieces.join('')
        let expected = false
        try {
          expected = RE2JS.compile(expression).matcher(text).find()
        } catch {
          // Not an expression: it never matches.
        }
        expect(compileRegex(expression)(text)).toBe(expected)
      },
    ),
    { numRuns: 5000 },
  )
})
