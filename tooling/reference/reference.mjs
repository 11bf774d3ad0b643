// Writes docs/api: the reference of every package's exports, from the comments in their source. An export without a comment and a link
// that leads nowhere are errors. `--check` writes nothing.
import { join } from 'node:path'
import { Application, LogLevel, ReflectionKind } from 'typedoc'
import { packages, root } from '../checks/workspace.mjs'

const check = process.argv.includes('--check')

/** The source of everything that a package exports, apart from what is generated. */
function entryPoints({ dir, manifest }) {
  return Object.values(manifest.exports ?? {})
    .map((target) => target.default)
    .filter((path) => path?.endsWith('.js') && !path.includes('*'))
    .map((path) => join(dir, path.replace('./dist/', 'src/').replace(/\.js$/, '.ts')))
}

const published = packages().filter(({ manifest, group }) => !manifest.private && group === 'packages')
// TypeDoc needs the compiler's own interface, which TypeScript 7 does not have; version 6 reads the same source.
const app = await Application.bootstrapWithPlugins({
  name: 'containerd-ts',
  plugin: ['typedoc-plugin-markdown'],
  entryPoints: published.flatMap(entryPoints),
  tsconfig: join(root, 'tooling/reference/tsconfig.json'),
  out: join(root, 'docs/api'),
  readme: 'none',
  basePath: root,
  disableSources: true,
  hideGenerator: true,
  excludeExternals: true,
  excludePrivate: true,
  excludeInternal: true,
  skipErrorChecking: true,
  logLevel: LogLevel.Warn,
  validation: { notExported: false, invalidLink: true, notDocumented: false },
})
const project = await app.convert()
if (project === undefined) process.exit(1)
app.validate(project)

const exported = [ReflectionKind.Enum, ReflectionKind.Variable, ReflectionKind.Function, ReflectionKind.Class]
exported.push(ReflectionKind.Interface, ReflectionKind.TypeAlias)
const undocumented = project
  .getReflectionsByKind(exported.reduce((kinds, kind) => kinds | kind))
  .filter((reflection) => reflection.parent?.kindOf([ReflectionKind.Module, ReflectionKind.Project]))
  .filter((reflection) => !reflection.hasComment() && !reflection.signatures?.some((signature) => signature.hasComment()))
  .map((reflection) => `${reflection.parent.name}: ${reflection.name}`)
for (const name of new Set(undocumented)) console.error(`${name} is exported without a comment`)

if (!check) await app.generateOutputs(project)
const problems = app.logger.errorCount + app.logger.warningCount + undocumented.length
console.log(`reference: ${published.length} packages, ${problems} problems`)
process.exit(problems > 0 ? 1 : 0)
