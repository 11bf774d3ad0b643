// Bundles the daemon into single files: loading modules one by one is most of a Node program's start-up time.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { build } from 'esbuild'

const require = createRequire(import.meta.url)
const { version } = JSON.parse(readFileSync('package.json', 'utf8'))

function revision() {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return 'unknown'
  }
}

await build({
  entryPoints: {
    containerd: 'dist/main.js',
    // Worker threads are files of their own, found beside the bundle under the name that the module gives them.
    ...Object.fromEntries(workers().map(({ name, path }) => [name, path])),
  },
  outdir: 'dist/bundle',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  // Packages with native code look for it beside their own files.
  external: ['koffi', 'classic-level'],
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
  },
  define: { CONTAINERD_TS_VERSION: JSON.stringify(version), CONTAINERD_TS_REVISION: JSON.stringify(revision()) },
  logLevel: 'warning',
})

/** The worker files of primitives, which declare them in their manifest. */
function workers() {
  return ['archive', 'mount'].flatMap((name) => {
    const manifestPath = require.resolve(`@containerd-ts/${name}/package.json`)
    const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'))
    return (manifest.containerd?.workers ?? []).map((worker) => ({
      name: worker,
      path: join(dirname(manifestPath), 'dist', `${worker}.js`),
    }))
  })
}
