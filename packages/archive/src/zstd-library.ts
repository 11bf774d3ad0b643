import { Transform, type TransformCallback } from 'node:stream'
import { type LibraryHandle, load } from 'koffi'
import { TarError } from './tar-error.js'

/** The system's libzstd, which works on threads of the pool. */
export interface ZstdLibrary {
  createCompressor(): Transform
  /** Reads frames one after the other; refuses those that need a window of more than 128 MiB, as the library does by itself. */
  createDecompressor(): Transform
}

const chunkSize = 128 * 1024
const ZSTD_e_continue = 0
const ZSTD_e_end = 2

let found: ZstdLibrary | undefined | 'not there'

/** Undefined on a system without it. */
export function zstdLibrary(): ZstdLibrary | undefined {
  found ??= open() ?? 'not there'
  return found === 'not there' ? undefined : found
}

function open(): ZstdLibrary | undefined {
  let library: LibraryHandle
  try {
    library = load('libzstd.so.1')
  } catch {
    return undefined
  }
  const isError = library.func('unsigned int ZSTD_isError(size_t code)') as (code: number | bigint) => number
  const errorName = library.func('const char *ZSTD_getErrorName(size_t code)') as (code: number | bigint) => string
  const buffers = 'void *context, void *target, size_t capacity, void *filled, const void *source, size_t size, void *taken'
  const kinds = {
    compress: {
      create: library.func('void *ZSTD_createCCtx()') as () => unknown,
      free: library.func('size_t ZSTD_freeCCtx(void *context)') as (context: unknown) => void,
      step: library.func(`size_t ZSTD_compressStream2_simpleArgs(${buffers}, int directive)`),
    },
    decompress: {
      create: library.func('void *ZSTD_createDCtx()') as () => unknown,
      free: library.func('size_t ZSTD_freeDCtx(void *context)') as (context: unknown) => void,
      step: library.func(`size_t ZSTD_decompressStream_simpleArgs(${buffers})`),
    },
  }

  function create(kind: 'compress' | 'decompress'): Transform {
    const { create: createContext, free, step } = kinds[kind]
    const context = createContext()
    // What is left to do: of a frame when reading, of what is buffered when writing.
    let left: number | bigint = 0
    let working = Promise.resolve()

    /** One call; what it wrote, and how much it took. */
    function call(source: Uint8Array, directive: number): Promise<{ bytes: Uint8Array; taken: number }> {
      const target = Buffer.allocUnsafeSlow(chunkSize)
      const filled = new BigUint64Array(1)
      const taken = new BigUint64Array(1)
      const args = [context, target, chunkSize, filled, source, source.length, taken]
      if (kind === 'compress') args.push(directive)
      return new Promise((resolve, reject) => {
        step.async(...args, (error: unknown, result: number | bigint) => {
          if (error !== null) reject(error)
          else if (isError(result) !== 0) reject(new TarError(`zstd: ${errorName(result)}`))
          else {
            left = result
            // The memory of the arguments is needed until here.
            resolve({ bytes: (args[1] as Buffer).subarray(0, Number(filled[0])), taken: Number(taken[0]) })
          }
        })
      })
    }

    async function process(stream: Transform, source: Uint8Array, directive: number): Promise<void> {
      for (let offset = 0; ; ) {
        const { bytes, taken } = await call(source.subarray(offset), directive)
        offset += taken
        if (bytes.length > 0) stream.push(bytes)
        // A full target may not have been all.
        if (bytes.length === chunkSize) continue
        if (offset === source.length && (directive !== ZSTD_e_end || left === 0 || left === 0n)) return
      }
    }

    const settle = (work: Promise<void>, done: TransformCallback) => {
      working = work.then(
        () => done(),
        (error: Error) => done(error),
      )
    }
    return new Transform({
      transform(chunk: Uint8Array, _encoding, done) {
        settle(process(this, chunk, ZSTD_e_continue), done)
      },
      flush(done) {
        if (kind === 'compress') settle(process(this, new Uint8Array(0), ZSTD_e_end), done)
        else done(Number(left) === 0 ? null : new TarError('unexpected end of zstd data'))
      },
      destroy(error, done) {
        // Not while a thread works with it.
        void working.then(() => {
          free(context)
          done(error)
        })
      },
    })
  }

  return { createCompressor: () => create('compress'), createDecompressor: () => create('decompress') }
}
