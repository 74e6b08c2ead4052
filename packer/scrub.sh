#!/usr/bin/env bash
# Take every credential out of an image before its snapshot: ours, and what a build leaves of others'. As root; then
# ecrlogind may start at the next boot. The last provisioner but verify.sh, which fails the build if anything is left.
#
# `ecrlogind login` works in a build, to pull images while baking; this undoes it.
set -euo pipefail
export LC_ALL=C
unset "${!ECRLOGIND_@}"
shopt -s nullglob dotglob

opt=/opt/ecrlogind
marker=/etc/ecrlogind/image-build
gone=0

say() { printf 'scrub: %s\n' "$1"; }

# PATH...: remove what is there of them.
remove() {
    local each
    for each; do
        [ -e "$each" ] || [ -L "$each" ] || continue
        rm -rf --one-file-system -- "$each"
        say "removed $each"
        gone=$((gone + 1))
    done
}

# FILE...: take the logins out of a client's configuration; the rest of it may be wanted.
remove_logins() {
    "$opt/bin/python" -I - "$@" <<'EOF'
import json, os, sys

for path in sys.argv[1:]:
    try:
        with open(path, "rb") as file:
            settings = json.load(file)
        kept = {key: value for key, value in settings.items() if key not in ("auths", "HttpHeaders")}
    except (ValueError, AttributeError):
        kept = {}  # whatever it is, nobody can use it
    else:
        if kept == settings:
            continue
    if kept:
        with open(path, "w") as file:
            json.dump(kept, file, indent="\t")
    else:
        os.unlink(path)
    print(f"scrub: took the logins out of {path}")
EOF
}

[ "$(id -u)" = 0 ] || { echo 'scrub: not root' >&2; exit 1; }
[ -x $opt/bin/ecrlogind ] || { echo "scrub: $opt/bin/ecrlogind is not there: run provision.sh first" >&2; exit 1; }

# Ours first, by ourselves: this reaches each destination of the settings wherever it is.
if [ -d /run/systemd/system ]; then
    systemctl --quiet stop ecrlogind.service ecrlogind-issuer.socket
fi
$opt/bin/ecrlogind logout
remove /run/ecrlogind /run/ecrlogind-* /run/user/*/ecrlogind* /var/lib/ecrlogind

mapfile -t homes < <({ getent passwd | cut -d: -f6; printf '%s\n' /root /home/*; } | sort -u)
for home in "${homes[@]}"; do
    home=${home%/}
    for file in "$home"/.docker/config.json "$home"/.config/containers/auth.json; do
        if [ -f "$file" ]; then remove_logins "$file"; fi
    done
    remove "$home"/.docker/.ecrlogind.* "$home"/.docker/ecrlogind-own* "$home"/.docker/.token_seed* "$home"/.dockercfg \
        "$home"/.ecr "$home"/.netrc "$home"/.git-credentials "$home"/.*_history "$home"/.lesshst "$home"/.local/share/fish/fish_history
    for file in "$home"/.aws/*; do # `config` says where and as whom; verify.sh looks whether it holds keys
        [ "${file##*/}" = config ] || remove "$file"
    done
done
for file in /etc/containers/auth.json /run/containers/*/auth.json /run/user/*/containers/auth.json \
    /var/lib/kubelet/config.json; do
    if [ -f "$file" ]; then remove_logins "$file"; fi
done

remove /var/lib/kubelet/.dockercfg

# What systemd hands to services, and the key of this very machine that it is encrypted by.
remove /etc/credstore/* /etc/credstore.encrypted/* /run/credstore/* /run/credstore.encrypted/* \
    /var/lib/systemd/credential.secret

# What the build machine was told and said. Scripts in /var/lib/cloud/scripts are the image's and stay, which
# `cloud-init clean` would take.
remove /var/lib/cloud/data /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/sem /run/cloud-init \
    /var/log/cloud-init*.log /var/log/journal/* /run/log/journal/*
remove "${STAGE:-/tmp/ecrlogind}" /tmp/script_*.sh /tmp/packer-* /tmp/varfile_* /var/tmp/packer-*

# Each machine gets its own.
if [ -s /etc/machine-id ]; then
    : >/etc/machine-id
    say 'emptied /etc/machine-id'
fi
[ -L /var/lib/dbus/machine-id ] || remove /var/lib/dbus/machine-id
if command -v cloud-init >/dev/null; then # it makes new ones; without it nobody would
    remove /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
fi

remove $marker
say "done, $gone removed: ecrlogind starts at the next boot"
