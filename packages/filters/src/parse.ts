/** One condition: a field path and what must hold for its value. */
export interface Selector {
  fieldpath: string[]
  operator: 'present' | '==' | '!=' | '~='
  value: string
}

/** Malformed input; the message shows the place and the reason. */
export class ParseError extends Error {
  override readonly name = 'ParseError'

  constructor(input: readonly string[], position: number, reason: string) {
    const char = input[position]
    const place =
      char === undefined
        ? input.join('')
        : `${input.slice(0, position).join('')} >|${char}|< ${input.slice(position + 1).join('')}`
    super(`[${place}]: ${reason}`)
  }
}

/** Splits one filter into its selectors, of which an empty filter has none. @throws ParseError */
export function parseFilter(filter: string): Selector[] {
  if (filter === '') return []
  const scanner = new Scanner(filter)
  const selectors = [parseSelector(scanner)]
  while (!scanner.atEnd()) {
    if (!scanner.take(',')) throw scanner.error(`unexpected input: ${scanner.peek()}`)
    selectors.push(parseSelector(scanner))
  }
  return selectors
}

function parseSelector(scanner: Scanner): Selector {
  const fieldpath = [scanner.field()]
  while (scanner.take('.')) fieldpath.push(scanner.field())
  if (scanner.atEnd() || scanner.peek() === ',') return { fieldpath, operator: 'present', value: '' }
  const operator = scanner.operator()
  return { fieldpath, operator, value: scanner.value(operator === '~=') }
}

const space = /^[\t\n\v\f\r \u0085\p{Z}]$/u
const graphic = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u
const fieldChar = /^[A-Za-z0-9_]$/
const octal = /^[0-7]{3}$/
const simpleEscapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
}
const hexEscapes: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 }

class Scanner {
  // By code points, as positions in messages and quotes count them.
  readonly #input: readonly string[]
  #position = 0

  constructor(input: string) {
    this.#input = Array.from(input)
  }

  error(reason: string, position = this.#position): ParseError {
    return new ParseError(this.#input, position, reason)
  }

  atEnd(): boolean {
    return this.#position >= this.#input.length
  }

  peek(): string {
    return this.#input[this.#position] ?? ''
  }

  take(char: string): boolean {
    if (this.peek() !== char) return false
    this.#position++
    return true
  }

  field(): string {
    this.#skipSpace()
    if (this.peek() === '"') return this.#quoted()
    const field = this.#run((char) => fieldChar.test(char))
    if (field === '') throw this.error('expected field or quoted')
    return field
  }

  operator(): '==' | '!=' | '~=' {
    this.#skipSpace()
    const start = this.#position
    const operator = this.#run((char) => char === '=' || char === '!' || char === '~')
    if (operator === '==' || operator === '!=' || operator === '~=') return operator
    throw this.error(operator === '' ? 'expected an operator ("=="|"!="|"~=")' : `unsupported operator "${operator}"`, start)
  }

  value(alternativeQuotes: boolean): string {
    this.#skipSpace()
    const first = this.peek()
    if (first === '"') return this.#quoted()
    if (first === '/' || first === '|') {
      if (!alternativeQuotes) throw this.error('invalid quote encountered')
      return this.#quoted()
    }
    if (first === '' || '.,=!~'.includes(first)) throw this.error('expected value or quoted')
    const value = this.#run((char) => char !== ',' && graphic.test(char))
    if (value === '') throw this.error('expected value or quoted')
    return value
  }

  #skipSpace(): void {
    this.#run((char) => space.test(char))
  }

  #run(belongs: (char: string) => boolean): string {
    const start = this.#position
    while (!this.atEnd() && belongs(this.peek())) this.#position++
    return this.#input.slice(start, this.#position).join('')
  }

  #quoted(): string {
    const quote = this.peek()
    const start = this.#position++
    let value = ''
    for (;;) {
      if (this.atEnd() || this.peek() === '\n') throw this.error('quoted literal not terminated', start)
      const char = this.peek()
      this.#position++
      if (char === quote) return value
      value += char === '\\' ? this.#escape(quote) : char
    }
  }

  #escape(quote: string): string {
    const start = this.#position - 1
    const char = this.peek()
    this.#position++
    const simple = char === quote ? quote : simpleEscapes[char]
    if (simple !== undefined) return simple
    const width = hexEscapes[char]
    let code = Number.NaN
    if (width !== undefined) {
      const digits = this.#input.slice(this.#position, this.#position + width).join('')
      if (digits.length === width && /^[0-9A-Fa-f]+$/.test(digits)) code = Number.parseInt(digits, 16)
      this.#position += width
    } else {
      const digits = this.#input.slice(start + 1, start + 4).join('')
      if (octal.test(digits)) code = Number.parseInt(digits, 8)
      this.#position = start + 4
    }
    const surrogate = code >= 0xd800 && code < 0xe000
    const limit = width === undefined ? 0xff : 0x10ffff
    if (Number.isNaN(code) || surrogate || code > limit) throw this.error('illegal escape sequence', start)
    return String.fromCodePoint(code)
  }
}
