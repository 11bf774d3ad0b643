import type { TestApi } from './test-api.js'

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
