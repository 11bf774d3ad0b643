import type { Sample } from './sample.js'

/** The samples of one task with the labels that name it. */
export interface TaskSamples {
  readonly labels: Readonly<Record<string, string>>
  readonly samples: readonly Sample[]
}

/** The Prometheus text format: the samples of all tasks, grouped by metric. */
export function exposition(tasks: readonly TaskSamples[]): string {
  const families = new Map<string, string[]>()
  for (const { labels, samples } of tasks) {
    for (const sample of samples) {
      const name = `container_${sample.name}`
      let lines = families.get(name)
      if (lines === undefined) {
        const type = name === 'container_memory_oom_total' ? 'counter' : 'gauge'
        lines = [`# HELP ${name} ${sample.help}`, `# TYPE ${name} ${type}`]
        families.set(name, lines)
      }
      lines.push(`${name}{${printLabels({ ...labels, ...sample.labels })}} ${sample.value}`)
    }
  }
  return [...families.values()].map((lines) => `${lines.join('\n')}\n`).join('')
}

function printLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
    .join(',')
}
