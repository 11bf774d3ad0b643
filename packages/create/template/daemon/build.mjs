import { bundle } from '@containerd-ts/bundle'

// One script in dist, with its worker threads beside it. Only koffi and classic-level are needed next to it, for their native code.
await bundle({ name: '__name__', entry: 'src/main.ts', warmUp: ['--help'] })
