/**
 * Suites that any implementation of a contract can run in its own tests. Each is an entry of its own, for instance `./content` or
 * `./snapshots`.
 */
export type { TestApi } from './test-api.js'
