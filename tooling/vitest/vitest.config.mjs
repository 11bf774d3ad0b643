import { defineConfig } from 'vitest/config'

// One preset for every package: `pnpm --filter <package> test` runs `test/**/*.test.ts` of that package alone.
export default defineConfig({
  test: {
    passWithNoTests: true,
    include: ['test/**/*.test.ts'],
    // What hangs is to be found out, and a machine that has much else to do is not to be taken for it.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', 'json'],
    outputFile: { json: 'test-results.json' },
  },
})
