/** Bundles a Node program into one script that starts fast, with its worker threads beside it. */
import { execFileSync } from 'node:child_process'
import { copyFile, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const workerUrl = /new URL\('(\.\/[\w-]+\.js)', import\.meta\.url\)/g
// Of a module that is known only when the program runs.
const runTimeImport = /\bimport\((?!['"`])/g
const launcher = fileURLToPath(new URL('../launch.cjs', import.meta.url))

/** What is bundled, and where to. */
export interface BundleOptions {
  /** Name of the program: `<outdir>/<name>.cjs` starts it. */
  name: string
  /** The module to begin with; it may be TypeScript, and must not await at its top level. */
  entry: string
  /** Default `dist`. Emptied before. */
  outdir?: string
  /**
   * Packages that stay outside and must be installed where the program runs. Default: those of this project that have native code,
   * koffi and classic-level, which look for it beside their own files.
   */
  external?: readonly string[]
  /**
   * Arguments with which the program does a little and ends. It is run once with them, for a code cache of what every start needs.
   * Without them there is none.
   */
  warmUp?: readonly string[]
  /** Global names to replace by JavaScript expressions. */
  define?: Readonly<Record<string, string>>
}

/**
 * Bundles a program into `<outdir>/<name>.bundle.js`, started by `<outdir>/<name>.cjs`: finding, loading and compiling modules one by
 * one is most of what a Node program does when it starts.
 *
 * Worker threads are files of their own. Whatever addresses one as `new URL('./x-worker.js', import.meta.url)` finds it beside the
 * bundle under the same name.
 *
 * @throws what esbuild throws for source that it cannot bundle, and when the warm-up fails.
 */
export async function bundle(options: BundleOptions): Promise<void> {
  const { name, entry, outdir = 'dist', external = ['koffi', 'classic-level'], warmUp, define = {} } = options
  const workers = new Map<string, string>()
  const common: BuildOptions = {
    outdir,
    bundle: true,
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    // Half of a program's start is the reading of its source; names stay, for stack traces.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    external: [...external],
  }
  const collectWorkers: Plugin = {
    name: 'workers',
    setup({ onLoad }) {
      onLoad({ filter: /[\\/]dist[\\/].*\.js$/ }, async ({ path }) => {
        const contents = await readFile(path, 'utf8')
        for (const [, url = ''] of contents.matchAll(workerUrl)) workers.set(basename(url, '.js'), resolve(dirname(path), url))
        return { contents: contents.replace(runTimeImport, 'bundleImport('), loader: 'js' }
      })
    },
  }
  await rm(outdir, { recursive: true, force: true })
  await build({
    ...common,
    entryPoints: { [`${name}.bundle`]: entry },
    // Only a script, not a module, can have its compiled code cached. Its place is that of the launcher.
    format: 'cjs',
    banner: { js: "const bundleUrl=require('node:url').pathToFileURL(__filename).href,bundleImport=require.bundleImport;" },
    define: { ...define, 'import.meta.url': 'bundleUrl' },
    plugins: [collectWorkers],
  })
  await build({
    ...common,
    entryPoints: Object.fromEntries(workers),
    format: 'esm',
    // CommonJS dependencies ask for Node's modules by require.
    banner: {
      js: "import { createRequire as bundleRequire } from 'node:module';const require = bundleRequire(import.meta.url);",
    },
  })
  const program = join(outdir, `${name}.cjs`)
  await copyFile(launcher, program)
  if (warmUp === undefined) return
  execFileSync(process.execPath, [program, ...warmUp], { env: { ...process.env, BUNDLE_WRITE_CODE_CACHE: '1' }, stdio: 'ignore' })
}
