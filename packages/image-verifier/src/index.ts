/** Programs that say whether an image may be pulled: `io.containerd.image-verifier.v1.bindir`. */
import { durationMs, integer, PluginType, type Registration, register, text } from '@containerd-ts/plugin'
import { createBinDirVerifier } from './bindir.js'

export { type BinDirOptions, createBinDirVerifier } from './bindir.js'

interface BinDirConfig {
  bin_dir: string
  max_verifiers: number
  per_verifier_timeout: number
}

/** The plugin `io.containerd.image-verifier.v1.bindir`. */
export const binDirVerifier: Registration<typeof PluginType.ImageVerifier, BinDirConfig> = {
  type: PluginType.ImageVerifier,
  id: 'bindir',
  config: {
    bin_dir: text({ default: '/opt/containerd/image-verifier/bin', doc: 'Directory of programs, all of which must agree.' }),
    max_verifiers: integer({ default: 10, doc: 'No more than so many are asked, in the order of their names; negative: all.' }),
    per_verifier_timeout: durationMs({ default: 10_000, doc: 'How long each of them may take.' }),
  },
  init: ({ config: { bin_dir, max_verifiers, per_verifier_timeout } }) =>
    createBinDirVerifier({ binDir: bin_dir, maxVerifiers: max_verifiers, timeoutMs: per_verifier_timeout }),
}

register(binDirVerifier)
