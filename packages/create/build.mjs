// Compiles, and writes down which versions of what a new project needs: those of this workspace.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

execFileSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' })

const own = readdirSync('..').flatMap((folder) => {
  try {
    const { name, version } = JSON.parse(readFileSync(`../${folder}/package.json`, 'utf8'))
    return [[name, `^${version}`]]
  } catch {
    return []
  }
})
const catalog = readFileSync('../../pnpm-workspace.yaml', 'utf8')
const outside = ['@grpc/grpc-js', '@types/node', 'classic-level', 'esbuild', 'koffi', 'typescript'].map((name) => {
  const [, version] = new RegExp(`^  ['"]?${name}['"]?: (\\S+)$`, 'm').exec(catalog)
  return [name, version]
})
writeFileSync('dist/versions.json', `${JSON.stringify(Object.fromEntries([...own, ...outside]), null, 2)}\n`)
