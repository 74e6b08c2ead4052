#!/bin/sh
# The life of a test session's dockerd; see dockerd.py. Runs as PID 1 of its own PID and mount namespaces, so what it
# mounts leaves the host alone, and nothing that dockerd started outlives it.
set -eu
home=$1

# dockerd trusts a registry by /etc/docker/certs.d and finds it by /etc/hosts: it gets its own of both. A resolver of
# Go's would keep a hosts file for 5 s; the C library's reads it each time.
mkdir -p "$home/etc/docker/certs.d"
cp /etc/hosts "$home/hosts"
mount --bind "$home/etc/docker" /etc/docker
mount --bind "$home/hosts" /etc/hosts
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
umount /etc/docker /etc/hosts
rm -rf --one-file-system "$home"
