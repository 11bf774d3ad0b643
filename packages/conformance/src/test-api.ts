/** What a suite needs of a test runner; vitest, jest and node:test all fit. */
export interface TestApi {
  describe(name: string, define: () => void): void
  it(name: string, run: () => Promise<void>): void
}
