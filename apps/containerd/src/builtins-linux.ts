// What needs a Linux kernel.
import '@containerd-ts/differ-walking'
import '@containerd-ts/metrics-cgroups'
import '@containerd-ts/restart-monitor'
import '@containerd-ts/runtime-linux'
import '@containerd-ts/snapshot-btrfs'
import '@containerd-ts/snapshot-native'
import '@containerd-ts/snapshot-overlay'
