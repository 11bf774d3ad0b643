import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../../..')

/** Every package of packages/ and apps/, with its manifest. */
export function packages() {
  return ['packages', 'apps'].flatMap((group) =>
    readdirSync(join(root, group))
      .map((name) => ({ group, folder: name, dir: join(root, group, name) }))
      .filter(({ dir }) => existsSync(join(dir, 'package.json')))
      .map((p) => ({ ...p, manifest: JSON.parse(readFileSync(join(p.dir, 'package.json'), 'utf8')) })),
  )
}
