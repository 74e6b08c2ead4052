#!/bin/sh
# Install what the system tests need of Debian or Ubuntu, where it is missing. As root; a second run does nothing.
set -eu

# program:package. By program, since a host may have its docker from elsewhere, and packages that conflict with it.
missing=
for pair in dockerd:docker.io docker:docker.io docker-registry:docker-registry skopeo:skopeo podman:podman \
    buildah:buildah pass:pass \
    debootstrap:debootstrap strace:strace faketime:faketime setfacl:acl setfattr:attr mkfs.ext4:e2fsprogs ip:iproute2 \
    ps:procps openssl:openssl unshare:util-linux flock:util-linux shellcheck:shellcheck packer:packer \
    systemd-analyze:systemd \
    busybox:busybox mandoc:mandoc man:man-db zsh:zsh fish:fish; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
# The real helper for pass. Off the PATH: there docker would take pass for everybody's default store.
helper=/usr/local/lib/ecrlogind-tests/docker-credential-pass
[ -n "$missing" ] || ! [ -x "$helper" ] || exit 0

missing_too=${missing:- docker-credential-pass}
[ "$(id -u)" = 0 ] || { echo "prepare.sh: missing:$missing_too. Run it as root, or install them." >&2; exit 1; }

# The tests start their own dockerd and registry: the packages' services stay down.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # a list of words
    apt-get install --yes --quiet=2 --no-install-recommends $missing
fi

work=$(mktemp -d)
(cd "$work" && apt-get download --quiet=2 -o APT::Sandbox::User=root golang-docker-credential-helpers)
dpkg-deb --extract "$work"/*.deb "$work"
install -D -m 0755 "$work/usr/bin/docker-credential-pass" "$helper"
rm -rf "$work"
