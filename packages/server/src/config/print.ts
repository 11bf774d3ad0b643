import { isTable, type Table } from './toml.js'

/** Writes a table as containerd prints its configuration: scalars first, tables indented below, strings in single quotes. */
export function printToml(table: Table): string {
  return `${lines(table, [], '').join('\n').trimStart()}\n`
}

function lines(table: Table, path: readonly string[], indent: string): string[] {
  const entries = Object.entries(table).filter(([, value]) => value !== undefined)
  const scalars = entries
    .filter(([, value]) => !isTable(value))
    .map(([key, value]) => `${indent}${printKey(key)} = ${printValue(value)}`)
  const tables = entries.flatMap(([key, value]) => {
    if (!isTable(value)) return []
    const inner = [...path, key]
    const nested = `${'  '.repeat(path.length)}`
    return ['', `${nested}[${inner.map(printKey).join('.')}]`, ...lines(value, inner, `${nested}  `)]
  })
  return [...scalars, ...tables]
}

function printKey(key: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(key)) return key
  return key.includes("'") ? JSON.stringify(key) : `'${key}'`
}

function printValue(value: unknown): string {
  if (typeof value === 'string') return /['\n\r\p{Cc}]/u.test(value) ? JSON.stringify(value) : `'${value}'`
  if (Array.isArray(value)) return `[${value.map(printValue).join(', ')}]`
  if (isTable(value))
    return `{ ${Object.entries(value)
      .map(([k, v]) => `${printKey(k)} = ${printValue(v)}`)
      .join(', ')} }`
  return String(value)
}
