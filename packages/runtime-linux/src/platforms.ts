import type { PluginPlatform } from '@containerd-ts/plugin'

// Go's names for the machines that Node runs on.
const architectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
  loong64: 'loong64',
}

/** Platforms written `os/architecture[/variant]`; that of this machine when there are none. */
export function platformsOf(specifiers: readonly string[]): PluginPlatform[] {
  if (specifiers.length === 0) return [{ os: process.platform, architecture: architectures[process.arch] ?? process.arch }]
  return specifiers.map((specifier) => {
    const [os = '', architecture = '', variant] = specifier.split('/')
    return { os, architecture, ...(variant === undefined ? {} : { variant }) }
  })
}
