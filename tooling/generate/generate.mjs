// Regenerates packages/api/src/gen from packages/api/proto. Needs no network. `--check` fails when the result differs.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../checks/workspace.mjs'

const api = join(root, 'packages/api')
const gen = join(api, 'src/gen')
const check = process.argv.includes('--check')

function files(dir, prefix = '') {
  return readdirSync(join(dir, prefix), { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? files(dir, join(prefix, e.name)) : [join(prefix, e.name)],
  )
}

function generate(out) {
  const env = { ...process.env, PATH: `${join(api, 'node_modules/.bin')}:${process.env.PATH}` }
  const buf = (...args) => execFileSync('buf', ['generate', '-o', out, ...args], { cwd: api, env, stdio: 'inherit' })
  buf('--template', 'buf.gen.yaml', '--exclude-path', 'proto/io', '--exclude-path', 'proto/containerd/ttrpc')
  buf('--template', 'buf.gen.bigint.yaml', '--path', 'proto/io', '--path', 'proto/containerd/ttrpc')
}

const out = mkdtempSync(join(tmpdir(), 'generate-'))
try {
  generate(out)
  const fresh = join(out, 'src/gen')
  if (check) {
    const names = new Set([...files(fresh), ...files(gen)])
    const read = (dir, name) => {
      try {
        return readFileSync(join(dir, name), 'utf8')
      } catch {
        return undefined
      }
    }
    const stale = [...names].filter((name) => read(fresh, name) !== read(gen, name))
    for (const name of stale) console.error(`packages/api/src/gen/${name} is stale: run \`npm run generate\``)
    process.exitCode = stale.length > 0 ? 1 : 0
  } else {
    rmSync(gen, { recursive: true, force: true })
    cpSync(fresh, gen, { recursive: true })
  }
} finally {
  rmSync(out, { recursive: true, force: true })
}
