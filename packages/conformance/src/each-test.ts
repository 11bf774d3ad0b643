import type { Context } from '@containerd-ts/interface'
import type { TestApi } from './test-api.js'

/** A store with nothing in the namespace of the context, for one test. */
export interface UnderTest<S> {
  readonly store: S
  /** For every operation of the test. */
  readonly ctx: Context
  close(): Promise<void>
}

/** Runs every test on an instance of its own. */
export function eachTest<T extends { close(): Promise<void> }>({ it }: TestApi, open: () => Promise<T>) {
  return (name: string, run: (fixture: T) => Promise<void>) =>
    it(name, async () => {
      const fixture = await open()
      try {
        await run(fixture)
      } finally {
        await fixture.close()
      }
    })
}
