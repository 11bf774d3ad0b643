import { defineConfig } from 'vitest/config'

// One preset for every package: `pnpm --filter <package> test` runs `test/**/*.test.ts` of that package alone.
export default defineConfig({
  test: {
    passWithNoTests: true,
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['default', 'json'],
    outputFile: { json: 'test-results.json' },
  },
})
