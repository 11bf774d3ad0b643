// One file, because finding and loading modules is most of what a Node program does when it starts.
import { build } from 'esbuild'

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/containerd-shim.js',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Its native library is found beside it.
  external: ['koffi'],
  sourcemap: true,
  legalComments: 'none',
  logLevel: 'warning',
})
