#!/bin/bash
# Runs compiled snippets, `run/*.mjs` of a project, in a mount namespace whose /srv, /mnt, /run, /tmp and /var/lib are empty and vanish
# with it: documentation names the paths that people use. Leaves output and exit code beside each.
set -eu
project=$1
mount --bind "$project" /home
for directory in /srv /mnt /run /tmp /var/lib; do mount -t tmpfs tmpfs "$directory"; done
mkdir -p /srv/a /srv/b /srv/before /srv/tree /run/example /run/containerd /var/lib/example
cd /home
export PATH=/home/node_modules/.bin:$PATH
containerd >daemon.log 2>&1 &
daemon=$!
for _ in $(seq 100); do
  [ -S /run/containerd/containerd.sock ] && break
  sleep 0.1
done
for script in run/*.mjs; do
  code=0
  if [[ $script == *.serves.mjs ]]; then
    node "$script" >"$script.out" 2>&1 &
    served=$!
    sleep 2
    kill -TERM "$served"
    wait "$served" || code=$?
  else
    timeout -k 5 60 node "$script" >"$script.out" 2>&1 || code=$?
  fi
  echo "$code" >"$script.code"
done
kill -TERM "$daemon"
wait "$daemon"
