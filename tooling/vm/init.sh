#!/bin/sh
# Runs the suites of /src/suites and ends the machine; the last line says how many of them failed.
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${stream%%:*}" "/dev/${stream#*:}"; done
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
# As a service manager does.
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
ifconfig lo up
ulimit -n 65536
echo "kernel $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"
touch /run/failed
# What crashed (in the kernel's own words; tests kill with signals, which it does not log).
crashes() { dmesg | grep -E 'segfault at|general protection|trap (invalid opcode|int3)'; }
run() {
  # An emulated processor takes its time. A pipe, as on a terminal the progress would be most of the output.
  {
    # shellcheck disable=SC2086
    node node_modules/vitest/vitest.mjs run --config /src/tooling/vitest/vitest.config.mjs --root . --reporter verbose \
      --testTimeout 90000 --hookTimeout 90000 --expect.poll.timeout 30000 --no-color $args </dev/null && touch /run/passed
  } 2>&1 | cat
  [ -e /run/passed ] && rm /run/passed
}
while read -r dir args || [ -n "$dir" ]; do
  cd "/src/$dir" || exit 1
  echo "== $dir"
  dmesg -c >/dev/null
  run && continue
  # Emulation crashes a program that compiles while it runs, as node does, very rarely. The same tests run without emulation, too, where
  # a crash counts.
  if crashes; then
    echo "== $dir again, as a program crashed on the emulated processor"
    run && continue
  fi
  echo "$dir" >>/run/failed
done </src/suites
echo "vm-tests: $(grep -c . /run/failed)"
poweroff -f
