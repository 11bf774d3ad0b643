import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { bundle } from '@containerd-ts/bundle'

const { version } = JSON.parse(readFileSync('package.json', 'utf8'))

function revision() {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return 'unknown'
  }
}

await bundle({
  name: 'containerd',
  entry: 'src/main.ts',
  // Packages with native code look for it beside their own files.
  external: ['koffi', 'classic-level'],
  warmUp: ['config', 'default'],
  define: { CONTAINERD_TS_VERSION: JSON.stringify(version), CONTAINERD_TS_REVISION: JSON.stringify(revision()) },
})
