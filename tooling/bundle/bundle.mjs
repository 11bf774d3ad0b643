import { readFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { build } from 'esbuild'

const workerUrl = /new URL\('(\.\/[\w-]+\.js)', import\.meta\.url\)/g

/**
 * Bundles a program into `dist/<name>.js`: finding and loading modules one by one is most of what a Node program does when it starts.
 *
 * Worker threads are files of their own. Whatever addresses one as `new URL('./x-worker.js', import.meta.url)` finds it beside the
 * bundle under the same name.
 */
export async function bundle({ name, entry, external, define = {} }) {
  const workers = new Map()
  const options = {
    outdir: 'dist',
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: true,
    // Half of a program's start is the reading of its source; names stay, for stack traces.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    external,
    define,
    // CommonJS dependencies ask for Node's modules by require.
    banner: { js: "import { createRequire as bundleRequire } from 'node:module';const require = bundleRequire(import.meta.url);" },
    plugins: [
      {
        name: 'workers',
        setup({ onLoad }) {
          onLoad({ filter: /\/packages\/[\w-]+\/dist\/.*\.js$/ }, async ({ path }) => {
            const contents = await readFile(path, 'utf8')
            for (const [, url] of contents.matchAll(workerUrl)) workers.set(basename(url, '.js'), resolve(dirname(path), url))
            return { contents, loader: 'js' }
          })
        },
      },
    ],
  }
  await build({ ...options, entryPoints: { [name]: entry } })
  const entryPoints = Object.fromEntries(workers)
  if (workers.size > 0) await build({ ...options, plugins: [], entryPoints })
}
