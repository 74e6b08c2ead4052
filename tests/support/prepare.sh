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
# Single programs of packages that are not to be installed: docker takes a docker-credential-pass in the PATH for
# everybody's default store, and prometheus brings a service and a web site. So they stand off the PATH.
aside=/usr/local/lib/ecrlogind-tests
missing_aside=
for pair in docker-credential-pass:golang-docker-credential-helpers promtool:prometheus; do
    [ -x "$aside/${pair%:*}" ] || missing_aside="$missing_aside $pair"
done
[ -n "$missing$missing_aside" ] || exit 0

[ "$(id -u)" = 0 ] || { echo "prepare.sh: missing:$missing$missing_aside. Run it as root, or install them." >&2; exit 1; }

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

for pair in $missing_aside; do
    program=${pair%:*} work=$(mktemp -d)
    (cd "$work" && apt-get download --quiet=2 -o APT::Sandbox::User=root "${pair#*:}")
    dpkg-deb --fsys-tarfile "$work"/*.deb | tar --extract --directory "$work" "./usr/bin/$program"
    install -D -m 0755 -t "$aside" "$work/usr/bin/$program"
    rm -rf "$work"
done
