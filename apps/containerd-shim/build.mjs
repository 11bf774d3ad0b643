import { bundle } from '@containerd-ts/bundle'

// koffi finds its native library beside its own files.
await bundle({ name: 'containerd-shim', entry: 'src/main.ts', external: ['koffi'], warmUp: ['-v'] })
