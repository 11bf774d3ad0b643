import { arch, platform } from 'node:process'
import type { PluginPlatform } from '@containerd-ts/plugin'

const architectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: 'amd64',
  ia32: '386',
  arm: 'arm',
  arm64: 'arm64',
}

/** The platform of this machine in the OCI's words, for instance linux and amd64. */
export function hostPlatform(): PluginPlatform {
  return { os: platform, architecture: architectures[arch] ?? arch }
}
