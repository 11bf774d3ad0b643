import { hostPlatform } from '@containerd-ts/interface'
import type { PluginPlatform } from '@containerd-ts/plugin'

/** Platforms written `os/architecture[/variant]`; that of this machine when there are none. */
export function platformsOf(specifiers: readonly string[]): PluginPlatform[] {
  if (specifiers.length === 0) return [hostPlatform()]
  return specifiers.map((specifier) => {
    const [os = '', architecture = '', variant] = specifier.split('/')
    return { os, architecture, ...(variant === undefined ? {} : { variant }) }
  })
}
