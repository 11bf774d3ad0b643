/** Shown by `-v` and by the Connect call. */
export const version = '0.1.0'
export const name = 'containerd-shim'
