declare const CONTAINERD_TS_VERSION: string | undefined
declare const CONTAINERD_TS_REVISION: string | undefined

/** The containerd release whose API and behaviour this daemon follows; clients compare it with what they need. */
const apiLevel = 'v2.3.4'

/** For instance `v2.3.4+ts.0.1.0`; the part after the plus is this project's own version. */
export const version = `${apiLevel}+ts.${typeof CONTAINERD_TS_VERSION === 'string' ? CONTAINERD_TS_VERSION : '0.0.0'}`

/** The commit that the bundle was built from. */
export const revision = typeof CONTAINERD_TS_REVISION === 'string' ? CONTAINERD_TS_REVISION : 'unknown'
