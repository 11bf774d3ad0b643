// Writes docs/configuration.md from the schemas of the daemon and its plugins. `--check` fails when the file differs.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../checks/workspace.mjs'

const app = join(root, 'apps/containerd')
const target = join(root, 'docs/configuration.md')
const { resolve } = createRequire(join(app, 'package.json'))
const load = (name) => import(pathToFileURL(resolve(name)).href)

for (const list of ['builtins.ts', 'builtins-linux.ts']) {
  for (const [, name] of readFileSync(join(app, 'src', list), 'utf8').matchAll(/^import '(.*)'$/gm)) await load(name)
}
const { defaultRegistry, uri } = await load('@containerd-ts/plugin')
const { configReference: reference } = await load('@containerd-ts/server')

function cell(text) {
  return text.replaceAll('|', '\\|')
}

function value(key, field) {
  const encoded = field.encode(field.default)
  // Differs by who asks.
  if ((key === 'uid' && encoded === process.geteuid()) || (key === 'gid' && encoded === process.getegid())) return "the daemon's"
  return `\`${JSON.stringify(encoded)}\``
}

function table(fields) {
  const rows = Object.entries(fields).map(
    ([key, field]) => `| \`${key}\` | ${cell(field.kind)} | ${value(key, field)} | ${cell(field.doc)} |`,
  )
  return ['| key | is | default | |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

const plugins = defaultRegistry()
  .list()
  .filter((registration) => Object.keys(registration.config ?? {}).length > 0)
  .sort((a, b) => (uri(a) < uri(b) ? -1 : 1))

const text = `<!-- Made from the schemas by \`npm run generate\`; change those. -->
# Configuration reference

The daemon reads \`/etc/containerd/config.toml\`, or the file that \`--config\` names: TOML in containerd's format, versions 1 to 4. It may
be missing; unless it says otherwise, it imports \`/etc/containerd/conf.d/*.toml\`. Flags win over files. \`containerd config default\` prints the defaults, \`config dump\` what is in effect, \`config check\` every
mistake, in the newest version of the format.

An unknown key and a value of the wrong type are errors that name file and line and say what to write instead. In the section of a plugin
they fail that plugin, anywhere else the daemon does not start. Sections of plugins that the daemon does not have are ignored, so that
files made for containerd load.

Files named by \`imports\` are read afterwards, each once: single values replace earlier ones, lists grow, tables merge; entries of
\`[timeouts]\` and \`[proxy_plugins]\` are replaced as a whole. A drop-in must not be of a newer version than the main file.

## Top level

${table(reference.topLevel)}

## \`[cgroup]\`

${table(reference.cgroup)}

## \`[debug]\`

${table(reference.debug)}

## \`[timeouts]\`

Limits by name; unknown names are told by \`config check\` and otherwise kept for plugins from outside.

| name | default | |
| --- | --- | --- |
${Object.entries(reference.timeouts)
  .map(([name, { defaultMs, doc }]) => `| \`${name}\` | ${defaultMs} ms | ${cell(doc)} |`)
  .join('\n')}

## \`[proxy_plugins.NAME]\`

A plugin that another process serves; \`NAME\` is its id, and what clients give as snapshotter.

${table(reference.proxyPlugin)}

## Plugins

${plugins.map((registration) => `### \`[plugins."${uri(registration)}"]\`\n\n${table(registration.config)}\n`).join('\n')}
## Accepted without effect

${Object.entries(reference.withoutEffect)
  .map(([key, reason]) => `- \`${key}\`: ${reason}`)
  .join('\n')}
`

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('docs/configuration.md is stale: run `npm run generate`')
    process.exitCode = 1
  }
} else writeFileSync(target, text)
