#!/bin/sh
# Make the root file system of a test machine: rootfs.sh TAR WHEELS PACKAGE...
#
# The host's own distribution and release, from where its apt gets them, with systemd and the *PACKAGE*s; and
# /opt/ecrlogind, a venv of the distribution's own Python at its final path, with what is in the directory WHEELS.
set -eu
tar=$1 wheels=$2
shift 2

# shellcheck source=/dev/null
. /etc/os-release
# shellcheck disable=SC2016  # $(RELEASE) is apt's
# The first source of this release, and the components that the host uses of it.
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$VERSION_CODENAME" '$1 == release { print $2; exit }')
[ -n "$mirror" ] || { echo "rootfs.sh: apt knows no source for $VERSION_CODENAME; run apt-get update" >&2; exit 1; }
# shellcheck disable=SC2016
components=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
    awk -v release="$VERSION_CODENAME" -v mirror="$mirror" '$1 == release && $2 == mirror { print $3 }' |
    sort -u | paste -sd,)
# debootstrap fetches by wget, which knows nothing of apt's proxy.
proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
[ -z "$proxy" ] || export http_proxy="$proxy"

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
packages="systemd systemd-sysv dbus ca-certificates python3 python3-venv $*"
debootstrap --variant=minbase --components="$components" --include="$(echo "$packages" | tr ' ' ,)" \
    "$VERSION_CODENAME" "$root" "$mirror" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }

# What depends on more than debootstrap can put in order. The boots of all tests but a few need no cloud-init: those
# take the file away.
chroot "$root" sh -euc '
    export DEBIAN_FRONTEND=noninteractive
    apt-get --quiet=2 update
    apt-get --quiet=2 install --yes --no-install-recommends cloud-init sudo
' >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
touch "$root/etc/cloud/cloud-init.disabled"

mkdir "$root/wheels"
cp "$wheels"/*.whl "$root/wheels"
chroot "$root" sh -euc '
    /usr/bin/python3 -m venv /opt/ecrlogind
    /opt/ecrlogind/bin/python -m pip install --quiet --no-index --no-cache-dir /wheels/*.whl
'

rm -rf "$root/wheels" "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/usr/share/doc" "$root/usr/share/locale"
# A host is told from another by these: each machine gets its own at boot.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
tar --create --directory "$root" --file "$tar.new" .
mv "$tar.new" "$tar"
