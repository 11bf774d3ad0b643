import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../../..')

/** Every TypeScript package, with its manifest. */
export function packages() {
  return ['packages', 'apps', 'tooling'].flatMap((group) =>
    readdirSync(join(root, group))
      .map((name) => ({ group, folder: name, dir: join(root, group, name) }))
      .filter(({ group, dir }) => existsSync(join(dir, group === 'tooling' ? 'src/index.ts' : 'package.json')))
      .map((p) => ({ ...p, manifest: JSON.parse(readFileSync(join(p.dir, 'package.json'), 'utf8')) })),
  )
}
