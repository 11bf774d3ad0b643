/**
 * The version of the plugin API: of `Registration`, `InitContext` and the contracts that plugin types stand for. A plugin declares the
 * range it was made for. The major changes when a plugin would have to.
 */
export const pluginApiVersion = '1.0.0'
