/** What end-to-end tests, benchmarks and the quickstart share. */
export { prepareCgroups } from './cgroups.js'
export { type DaemonOptions, ourDaemon, startDaemon, type TestDaemon } from './daemon.js'
export { type DockerdOptions, docker, startDockerd, type TestDockerd } from './dockerd.js'
export { type BuiltImage, buildBusyboxImage, buildImage } from './image.js'
export { findLastingLeaks, findLeaks, type Leaks } from './leaks.js'
export { type ExecOptions, eventually, exec, mustExec, type Output, stopProcess } from './process.js'
export { type Registry, startRegistry } from './registry.js'
export { runInTerminal, type TerminalProgram } from './terminal.js'
