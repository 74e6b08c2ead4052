#!/bin/sh
# The life of a test session's dockerd; see dockerd.py. Runs as PID 1 of its own PID and mount namespaces, so what it
# mounts leaves the host alone, and nothing that dockerd started outlives it.
set -eu
home=$1

# dockerd reads daemon.json in /etc/docker, and leaves a key there: it gets one of its own. It needs no CA there for a
# registry whose name leads to 127/8, since it never checks the certificate of such a one.
mkdir -p "$home/etc" /etc/docker
mount --bind "$home/etc" /etc/docker
# Go's own resolver would keep /etc/hosts for 5 s; the C library's reads it each time.
export GODEBUG=netdns=cgo

# A user-defined bridge or any rule in iptables would be the host's: containers have no network, or the host's.
dockerd --data-root "$home/data" --exec-root "$home/exec" \
    --pidfile "$home/dockerd.pid" --host "unix://$home/docker.sock" --bridge=none --iptables=false --ip6tables=false \
    --cgroup-parent "/${home##*/}" --shutdown-timeout 1 --log-level warn >"$home/log" 2>&1 </dev/null &
dockerd=$!

# Every worker that uses it holds this lock shared until it ends, however it ends; then it is ours.
(flock --exclusive 9 && kill "$dockerd" 2>/dev/null) 9<"$home/users" &
wait || true
find /sys/fs/cgroup -depth -type d -path "*/${home##*/}*" -exec rmdir {} + 2>/dev/null || true
umount /etc/docker
rm -rf --one-file-system "$home"
