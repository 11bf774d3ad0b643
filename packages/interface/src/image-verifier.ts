import type { Context } from './context.js'
import type { Descriptor } from './metadata.js'

/** Whether an image may be pulled, and why. */
export interface ImageJudgement {
  ok: boolean
  reason: string
}

/** Says whether an image may be pulled. */
export interface ImageVerifier {
  /** Asked once the name is resolved, before anything is fetched. What it throws keeps the image from being pulled, too. */
  verify(ctx: Context, name: string, descriptor: Descriptor): Promise<ImageJudgement>
}
