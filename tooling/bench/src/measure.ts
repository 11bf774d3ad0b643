/** Repeats an operation and gives back the times in milliseconds, sorted. */
export async function times(rounds: number, operation: (round: number) => Promise<void>): Promise<number[]> {
  const measured: number[] = []
  for (let round = 0; round < rounds; round++) {
    const started = performance.now()
    await operation(round)
    measured.push(performance.now() - started)
  }
  return measured.sort((a, b) => a - b)
}

export function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
