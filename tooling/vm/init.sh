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
while read -r dir args || [ -n "$dir" ]; do
  cd "/src/$dir" || exit 1
  echo "== $dir"
  # An emulated processor takes its time. A pipe, as on a terminal the progress would be most of the output.
  {
    # shellcheck disable=SC2086
    node node_modules/vitest/vitest.mjs run --config /src/tooling/vitest/vitest.config.mjs --root . --reporter verbose \
      --testTimeout 90000 --hookTimeout 90000 --expect.poll.timeout 30000 --no-color $args </dev/null || echo "$dir" >>/run/failed
  } 2>&1 | cat
done </src/suites
echo "vm-tests: $(grep -c . /run/failed)"
poweroff -f
