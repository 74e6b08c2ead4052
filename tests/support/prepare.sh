#!/bin/sh
# Install what the system tests need of Debian or Ubuntu, where it is missing. As root; a second run does nothing.
set -eu

# program:package. By program, since a host may have its docker from elsewhere, and packages that conflict with it.
missing=
for pair in dockerd:docker.io docker:docker.io docker-registry:docker-registry skopeo:skopeo podman:podman \
    buildah:buildah pass:pass \
    debootstrap:debootstrap strace:strace faketime:faketime setfacl:acl setfattr:attr mkfs.ext4:e2fsprogs ip:iproute2 \
    ps:procps openssl:openssl unshare:util-linux flock:util-linux shellcheck:shellcheck packer:packer \
    systemd-analyze:systemd docker-credential-ecr-login:amazon-ecr-credential-helper node:nodejs npm:npm \
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
# And a client that is written for Node.
node=$(dirname "$0")/node missing_node=
cmp -s "$node/package-lock.json" "$aside/node/package-lock.json" || missing_node=' testcontainers for Node'
all=$missing$missing_aside$missing_node
[ -n "$all" ] || exit 0

[ "$(id -u)" = 0 ] || { echo "prepare.sh: missing:$all. Run it as root, or install them." >&2; exit 1; }

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

if [ -n "$missing_node" ]; then
    work=$(mktemp -d)
    cp "$node"/package*.json "$work"
    # Without a registry of npm's within reach the one test that needs it says so.
    if npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --fetch-retries 5 --loglevel=error >&2; then
        mkdir -p "$aside"
        rm -rf "$aside/node"
        cp -r "$work" "$aside/node"
    fi
    rm -rf "$work"
fi
