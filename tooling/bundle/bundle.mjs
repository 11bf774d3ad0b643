import { execFileSync } from 'node:child_process'
import { copyFile, readFile, rm } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const workerUrl = /new URL\('(\.\/[\w-]+\.js)', import\.meta\.url\)/g
// Of a module that is known only when the program runs.
const runTimeImport = /\bimport\((?!['"`])/g
const launcher = fileURLToPath(new URL('./launch.cjs', import.meta.url))

/**
 * Bundles a program into `dist/<name>.bundle.js`, started by `dist/<name>.cjs`: finding, loading and compiling modules one by one is
 * most of what a Node program does when it starts. `warmUp` are arguments with which the program does a little and ends; the build
 * runs it once with them, for a code cache of what every start needs.
 *
 * Worker threads are files of their own. Whatever addresses one as `new URL('./x-worker.js', import.meta.url)` finds it beside the
 * bundle under the same name.
 */
export async function bundle({ name, entry, external, warmUp, define = {} }) {
  const workers = new Map()
  const options = {
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    // Half of a program's start is the reading of its source; names stay, for stack traces.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    external,
  }
  const collectWorkers = {
    name: 'workers',
    setup({ onLoad }) {
      onLoad({ filter: /\/packages\/[\w-]+\/dist\/.*\.js$/ }, async ({ path }) => {
        const contents = await readFile(path, 'utf8')
        for (const [, url] of contents.matchAll(workerUrl)) workers.set(basename(url, '.js'), resolve(dirname(path), url))
        return { contents: contents.replace(runTimeImport, 'bundleImport('), loader: 'js' }
      })
    },
  }
  await rm('dist', { recursive: true, force: true })
  await build({
    ...options,
    entryPoints: { [`${name}.bundle`]: entry },
    // Only a script, not a module, can have its compiled code cached. Its place is that of the launcher.
    format: 'cjs',
    banner: { js: "const bundleUrl=require('node:url').pathToFileURL(__filename).href,bundleImport=require.bundleImport;" },
    define: { ...define, 'import.meta.url': 'bundleUrl' },
    plugins: [collectWorkers],
  })
  await build({
    ...options,
    entryPoints: Object.fromEntries(workers),
    format: 'esm',
    // CommonJS dependencies ask for Node's modules by require.
    banner: {
      js: "import { createRequire as bundleRequire } from 'node:module';const require = bundleRequire(import.meta.url);",
    },
  })
  const program = `dist/${name}.cjs`
  await copyFile(launcher, program)
  execFileSync(process.execPath, [program, ...warmUp], { env: { ...process.env, BUNDLE_WRITE_CODE_CACHE: '1' }, stdio: 'ignore' })
}
