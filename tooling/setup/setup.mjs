// `npm run setup`: dependencies and build, nothing more.
import { setUpWorkspace } from './tools.mjs'

setUpWorkspace()
console.log('ready: apps/containerd/bin/containerd is the daemon')
