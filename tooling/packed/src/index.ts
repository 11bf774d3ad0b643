/** What the tests of packed packages share: the packages as their users get them, from a registry on loopback. */
export { type Packages, packWorkspace } from './pack.js'
export { type PackageRegistry, servePackages } from './registry.js'
export { documentedSnippets, firstTypeScript, type Snippet } from './snippets.js'
