import { type GraphNode, shortType } from './model.js'

const boxHeight = 40
const rowGap = 14
const columnGap = 90
const margin = 20
const charWidth = 6.6

const colours = {
  ok: { fill: '#e6f4ea', stroke: '#1e7e34', dash: '' },
  skip: { fill: '#f1f3f4', stroke: '#80868b', dash: ' stroke-dasharray="4"' },
  error: { fill: '#fce8e6', stroke: '#c5221f', dash: '' },
} as const

interface Box {
  node: GraphNode
  x: number
  y: number
  width: number
}

/** A drawing of the graph: what is required stands to the left of what requires it. */
export function svg(nodes: readonly GraphNode[]): string {
  const boxes = place(nodes)
  const all = [...boxes.values()]
  const width = Math.max(...all.map((b) => b.x + b.width), 0) + margin
  const height = Math.max(...all.map((b) => b.y + boxHeight), 0) + margin
  const lines = nodes.flatMap(({ uri, needs }) => needs.map((need) => arrow(boxes.get(need), boxes.get(uri))))
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#5f6368"/></marker></defs>
${lines.join('\n')}
${all.map(draw).join('\n')}
</svg>
`
}

/** One column for each distance from the plugins that require nothing; within it as near as may be to what is required. */
function place(nodes: readonly GraphNode[]): Map<string, Box> {
  const byUri = new Map(nodes.map((node) => [node.uri, node]))
  const depths = new Map<string, number>()
  const depthOf = (uri: string, path: readonly string[] = []): number => {
    const known = depths.get(uri)
    if (known !== undefined) return known
    const needs = (byUri.get(uri)?.needs ?? []).filter((need) => !path.includes(need))
    const depth = Math.max(-1, ...needs.map((need) => depthOf(need, [...path, uri]))) + 1
    depths.set(uri, depth)
    return depth
  }
  const columns: GraphNode[][] = []
  for (const node of nodes) {
    const depth = depthOf(node.uri)
    columns[depth] ??= []
    columns[depth].push(node)
  }

  const boxes = new Map<string, Box>()
  let x = margin
  for (const column of columns) {
    const wanted = (node: GraphNode) => {
      const rows = node.needs.flatMap((need) => boxes.get(need)?.y ?? [])
      return rows.length === 0 ? 0 : rows.reduce((sum, y) => sum + y, 0) / rows.length
    }
    const width = Math.max(...column.map(labelWidth))
    const sorted = column.toSorted((a, b) => wanted(a) - wanted(b))
    for (const [row, node] of sorted.entries()) boxes.set(node.uri, { node, x, y: margin + row * (boxHeight + rowGap), width })
    x += width + columnGap
  }
  return boxes
}

function labelWidth({ id, type }: GraphNode): number {
  return Math.ceil(Math.max(id.length, shortType(type).length) * charWidth) + 20
}

function arrow(from: Box | undefined, to: Box | undefined): string {
  if (from === undefined || to === undefined) return ''
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + boxHeight / 2, to.x, to.y + boxHeight / 2]
  const bend = columnGap / 2
  return `<path d="M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}" fill="none" stroke="#9aa0a6" marker-end="url(#tip)"/>`
}

function draw({ node, x, y, width }: Box): string {
  const { fill, stroke, dash } = colours[node.state]
  const title = node.error === undefined ? node.uri : `${node.uri}: ${node.error}`
  return `<g><title>${xml(title)}</title><rect x="${x}" y="${y}" width="${width}" height="${boxHeight}" rx="5" fill="${fill}" stroke="${stroke}"${dash}/>
<text x="${x + 10}" y="${y + 17}" font-weight="bold">${xml(node.id)}</text><text x="${x + 10}" y="${y + 32}" fill="#5f6368">${xml(shortType(node.type))}</text></g>`
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
