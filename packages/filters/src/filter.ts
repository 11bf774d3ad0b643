import { InvalidArgumentError } from '@containerd-ts/interface'
import { ParseError, parseFilter, type Selector } from './parse.js'
import { compileRegex } from './regex.js'

/** Gives the value of a field of one object, undefined when the object has no such field. */
export type FieldAdaptor = (fieldpath: readonly string[]) => string | undefined

/** True for an object that matches. */
export type Matcher = (adaptor: FieldAdaptor) => boolean

/**
 * Compiles filters to a predicate: an object matches when any of them does, and always when there are none or one is empty.
 *
 * A regular expression that does not compile is no error: its selector never holds.
 *
 * @throws InvalidArgumentError for malformed input, showing the place.
 */
export function parseFilters(filters: readonly string[]): Matcher {
  const alternatives = filters.map(compileFilter)
  const [only] = alternatives
  if (only === undefined) return () => true
  if (alternatives.length === 1) return only
  return (adaptor) => alternatives.some((matches) => matches(adaptor))
}

function compileFilter(filter: string): Matcher {
  let selectors: Selector[]
  try {
    selectors = parseFilter(filter)
  } catch (error) {
    if (error instanceof ParseError) throw new InvalidArgumentError(`filters: parse error: ${error.message}`, { cause: error })
    throw error
  }
  const conditions = selectors.map(compileSelector)
  return (adaptor) => conditions.every((holds) => holds(adaptor))
}

function compileSelector({ fieldpath, operator, value }: Selector): Matcher {
  switch (operator) {
    case 'present':
      return (adaptor) => adaptor(fieldpath) !== undefined
    case '==':
      return (adaptor) => adaptor(fieldpath) === value
    case '!=':
      return (adaptor) => (adaptor(fieldpath) ?? '') !== value
    case '~=': {
      const matches = compileRegex(value)
      return (adaptor) => matches(adaptor(fieldpath) ?? '')
    }
  }
}
