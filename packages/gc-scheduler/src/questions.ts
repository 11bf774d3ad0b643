/**
 * What the scheduler can be asked through the introspection service: `PluginInfo` of `io.containerd.gc.v1`, `scheduler`, with one of
 * these questions as options. Questions and answers are JSON in an Any.
 */
import type { Any } from '@containerd-ts/api'
import {
  type CollectionStats,
  type Explanation,
  type Garbage,
  InternalError,
  InvalidArgumentError,
  type MetadataStore,
  type ObjectKind,
} from '@containerd-ts/interface'

const prefix = 'containerd-ts.io/gc/v1/'
const kinds: readonly ObjectKind[] = ['lease', 'image', 'container', 'content', 'snapshot', 'ingest']

/** Asks why an object is kept. */
export type ExplainQuestion = Parameters<MetadataStore['explain']>[0]

/** Whoever asks: takes a question, gives back the answer. */
export type Ask = (question: Any) => Promise<Any | undefined>

/** Why the objects of that name are kept. */
export async function askWhyKept(ask: Ask, question: ExplainQuestion): Promise<Explanation[]> {
  return answerTo<Explanation[]>(ask, 'Explain', question)
}

/** What a collection would remove. */
export async function askForGarbage(ask: Ask): Promise<Garbage[]> {
  return answerTo<Garbage[]>(ask, 'Preview', {})
}

/** Collects now. */
export async function askToCollect(ask: Ask): Promise<CollectionStats> {
  return answerTo<CollectionStats>(ask, 'Collect', {})
}

// The answer comes from the same daemon that knows the question.
async function answerTo<T>(ask: Ask, name: string, question: object): Promise<T> {
  const answer = await ask({ typeUrl: prefix + name, value: Buffer.from(JSON.stringify(question)) })
  if (answer?.typeUrl !== prefix + name)
    throw new InternalError(`${prefix}${name} was answered with ${answer?.typeUrl ?? 'nothing'}`)
  return JSON.parse(Buffer.from(answer.value).toString()) as T
}

/** What the collector is asked. */
export interface Answers {
  explain: MetadataStore['explain']
  preview(): Promise<Garbage[]>
  collect(): Promise<CollectionStats>
}

/** Answers a question. @throws InvalidArgumentError when it is none of these */
export async function answerQuestion(answers: Answers, { typeUrl, value }: Any): Promise<Any> {
  const answer = async () => {
    switch (typeUrl) {
      case `${prefix}Explain`:
        return answers.explain(explainQuestion(value))
      case `${prefix}Preview`:
        return answers.preview()
      case `${prefix}Collect`:
        return answers.collect()
      default:
        throw new InvalidArgumentError(`the garbage collector has no answer to "${typeUrl}"`)
    }
  }
  return { typeUrl, value: Buffer.from(JSON.stringify(await answer())) }
}

function explainQuestion(value: Uint8Array): ExplainQuestion {
  const given = parsed(value)
  const text = (name: string) => {
    const field = given[name]
    if (field !== undefined && typeof field !== 'string') throw new InvalidArgumentError(`${name} must be a text`)
    return field
  }
  const [namespace, id, snapshotter, named] = [text('namespace'), text('id'), text('snapshotter'), text('kind')]
  const kind = kinds.find((known) => known === named)
  if (namespace === undefined || id === undefined) throw new InvalidArgumentError('namespace and id must be set')
  if (named !== undefined && kind === undefined) throw new InvalidArgumentError(`kind "${named}" is none of ${kinds.join(', ')}`)
  return { namespace, id, ...(kind !== undefined && { kind }), ...(snapshotter !== undefined && { snapshotter }) }
}

function parsed(value: Uint8Array): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(value).toString())
  } catch (cause) {
    throw new InvalidArgumentError('the question is not JSON', { cause })
  }
  if (typeof json !== 'object' || json === null) throw new InvalidArgumentError('the question is no object')
  return { ...json }
}
