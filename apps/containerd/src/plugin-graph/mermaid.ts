import { type GraphNode, shortType } from './model.js'

/** A Mermaid flowchart; arrows lead to what is required. */
export function mermaid(nodes: readonly GraphNode[]): string {
  const names = new Map(nodes.map(({ uri }, index) => [uri, `p${index}`]))
  const boxes = nodes.map(
    ({ uri, type, id, state }) => `  ${names.get(uri)}["${quote(id)}<br/>${quote(shortType(type))}"]:::${state}`,
  )
  const arrows = nodes.flatMap(({ uri, needs }) => needs.map((need) => `  ${names.get(uri)} --> ${names.get(need)}`))
  return `${[
    'flowchart LR',
    ...boxes,
    ...arrows,
    '  classDef ok fill:#e6f4ea,stroke:#1e7e34',
    '  classDef skip fill:#f1f3f4,stroke:#80868b,stroke-dasharray: 4',
    '  classDef error fill:#fce8e6,stroke:#c5221f',
  ].join('\n')}\n`
}

function quote(text: string): string {
  return text.replaceAll('"', '#quot;')
}
