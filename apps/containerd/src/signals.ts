// Imported first, so that a signal that arrives while the rest is still loading stops the daemon like any other.
const controller = new AbortController()

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => controller.abort(signal))
process.on('SIGPIPE', () => {})

/** Aborted by SIGTERM or SIGINT. */
export const stop: AbortSignal = controller.signal
