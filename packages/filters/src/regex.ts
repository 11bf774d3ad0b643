import { createRequire } from 'node:module'

// What clients really send: literal text, perhaps anchored, perhaps followed by `.*`. It means the same to the built-in engine, which
// is linear on it and needs no loading.
const plain = /^(\^?)((?:[^\\^$.|?*+()[\]{}]|\\[!-/:-@[-`{-~])*)(\.\*)?(\$?)$/u

/**
 * A predicate that is true when the RE2 expression finds a match anywhere in a text. An invalid expression never does.
 *
 * Expressions come from clients, so they run on an engine without backtracking.
 */
export function compileRegex(expression: string): (text: string) => boolean {
  const match = plain.exec(expression)
  if (match !== null) {
    const [, start = '', literal = '', any, end = ''] = match
    const builtin = new RegExp(`${start}${literal}${any === undefined ? '' : '[^\\n]*'}${end}`)
    return (text) => builtin.test(text)
  }
  try {
    const compiled = loadRe2().RE2JS.compile(expression)
    return (text) => compiled.matcher(text).find()
  } catch {
    return () => false
  }
}

// Loading takes 12 ms, which a daemon that never sees such a filter does not spend. A bundler resolves the plain `require`.
function loadRe2(): typeof import('re2js') {
  return typeof require === 'function' ? require('re2js') : createRequire(import.meta.url)('re2js')
}
