import { libc } from './libc.js'

let strerror: ((errno: number) => string) | undefined

/** What errno means in the words that Go and the shell use, for instance `no such file or directory`. */
export function errorText(errno: number): string {
  strerror ??= libc().func('const char *strerror(int errno)') as (errno: number) => string
  const text = strerror(Math.abs(errno))
  return text.charAt(0).toLowerCase() + text.slice(1)
}
