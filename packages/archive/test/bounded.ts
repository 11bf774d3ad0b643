import fc from 'fast-check'

/** Checks a property with ever new values for a time. A run that has begun is waited for, so that nothing of it is left. */
export async function checkFor<T>(ms: number, property: fc.IAsyncProperty<T>, runsAtOnce = 20): Promise<void> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; ) await fc.assert(property, { numRuns: runsAtOnce })
}
