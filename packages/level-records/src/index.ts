/**
 * Records in a LevelDB that notice when they are not what was written: every value has a checksum, every batch says how many records there
 * are and what their checksums add up to, and a mark beside the database says how many batches were acknowledged.
 *
 * LevelDB by itself takes a log that ends early for a crash, skips what it cannot read, and goes on.
 */
export { CommitMark } from './commit-mark.js'
export { type DatabaseKind, damaged, type Level, openLevel, storedRecords } from './level.js'
export { loadRecords, type RecordVisitor, type RecordWrite, scanRecords, writeRecords } from './records.js'
export { checksum, seal } from './seal.js'
export { type DatabaseState, emptyState, encodeState, replaced, stateKey } from './state.js'
