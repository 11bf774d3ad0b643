import type { Sample } from './sample.js'

/** The samples of one task with the labels that name it. */
export interface TaskSamples {
  readonly labels: Readonly<Record<string, string>>
  readonly samples: readonly Sample[]
}

/** The Prometheus text format: the samples of all tasks, grouped by metric. */
export function exposition(tasks: readonly TaskSamples[]): string {
  const lines = new Map<string, string[]>()
  for (const { labels, samples } of tasks) {
    for (const sample of samples) {
      const name = `container_${sample.name}`
      const line = `${name}{${printLabels({ ...labels, ...sample.labels })}} ${sample.value}`
      const known = lines.get(name)
      if (known === undefined) lines.set(name, [line])
      else known.push(line)
    }
  }
  return [...lines]
    .map(
      ([name, values]) => `# TYPE ${name} ${name === 'container_memory_oom_total' ? 'counter' : 'gauge'}\n${values.join('\n')}\n`,
    )
    .join('')
}

function printLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
    .join(',')
}
