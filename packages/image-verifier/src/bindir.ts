import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type ImageVerifier, isErrno } from '@containerd-ts/interface'
import { runVerifier } from './run.js'

/** Which programs are asked, and for how long. */
export interface BinDirOptions {
  /** Every file in it is a verifier. */
  binDir: string
  /** No more than so many are asked, by their names; negative for any number. */
  maxVerifiers: number
  /** For each of them. */
  timeoutMs: number
}

/** Asks the programs of a directory, as containerd does. An image may be pulled when all of them say so, and when there is none. */
export function createBinDirVerifier({ binDir, maxVerifiers, timeoutMs }: BinDirOptions): ImageVerifier {
  return {
    async verify(ctx, name, descriptor) {
      const all = await programsIn(binDir)
      if (all === undefined) return { ok: true, reason: `image verifier directory ${binDir} does not exist` }
      if (all.length === 0) return { ok: true, reason: `no image verifier binaries found in ${binDir}` }
      const programs = maxVerifiers < 0 ? all : all.slice(0, maxVerifiers)
      if (programs.length < all.length) ctx.log.warn('image verifiers are skipped', { binDir, found: all.length, maxVerifiers })
      const reasons: string[] = []
      for (const program of programs) {
        const { exitCode, text } = await runVerifier(ctx, join(binDir, program), { name, descriptor }, timeoutMs)
        if (exitCode !== 0) return { ok: false, reason: `verifier ${program} rejected image (exit code ${exitCode}): ${text}` }
        reasons.push(`${program} => ${text}`)
      }
      return { ok: true, reason: reasons.join(', ') }
    },
  }
}

async function programsIn(directory: string): Promise<string[] | undefined> {
  try {
    return (await readdir(directory)).sort()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
