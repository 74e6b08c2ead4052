#!/usr/bin/env bash
# Fail an image build that would publish a credential, or a host that does not log in. As root, after scrub.sh, and
# changes nothing. Names everything that is wrong; never shows a secret.
set -euo pipefail
export LC_ALL=C
unset "${!ECRLOGIND_@}"
shopt -s nullglob dotglob

opt=/opt/ecrlogind
problems=0

problem() {
    printf 'verify: %s\n' "$1" >&2
    problems=$((problems + 1))
}

# PATH...: what must not be there, or be empty.
must_be_gone() {
    local each
    for each; do
        if [ -d "$each" ]; then
            [ -z "$(find "$each" -type f -print -quit)" ] || problem "$each: there are files in it"
        elif [ -s "$each" ]; then
            problem "$each: must not be in an image"
        fi
    done
}

# FILE...: what must hold no login. Tells of each that does.
must_hold_no_login() {
    local line
    while read -r line; do
        problem "$line"
    done < <("$opt/bin/python" -I - "$@" <<'EOF'
import json, os, sys

for path in filter(os.path.isfile, sys.argv[1:]):
    try:
        with open(path, "rb") as file:
            settings = json.load(file)
        auths = settings if path.endswith(".dockercfg") else settings.get("auths", {})
        for host, login in auths.items():
            if login:
                print(f"{path}: a login for {host!a}")
        if settings.get("HttpHeaders"):
            print(f"{path}: HttpHeaders, which may hold a login")
    except (ValueError, AttributeError):
        print(f"{path}: cannot be read, so nobody knows that it holds no login")
EOF
    )
}

# PATH...: what must hold no secret that is known by its form: a login to ECR (base64 of "AWS:", or of a password's
# beginning) or an AWS access key. Files beyond 8 MiB are not looked into.
must_hold_no_secret() {
    local file boundary='(^|[^A-Za-z0-9/+])' roots=() each
    for each; do [ ! -d "$each" ] || roots+=("$each"); done
    while read -r file; do
        problem "$file: a login to ECR, or AWS keys"
    done < <(find "${roots[@]}" -xdev -type f -size -8192k -print0 |
        xargs -0 -r grep -asoHE -e 'QVdTO[A-Za-z0-9+/]{40}' -e 'eyJwYXlsb2FkIjoi[A-Za-z0-9+/]{40}' \
            -e "${boundary}(AKIA|ASIA)[A-Z2-7]{16}" -e 'aws_(secret_access_key|session_token) *= *[^ ]{16}' |
        grep -v EXAMPLE | cut -d: -f1 | sort -u)
}

# USER: whose login could not be delivered into files that are somebody else's. Root made them, as a rule, in the build.
must_own_its_files() {
    local home each owner
    home=$(getent passwd "$1" | cut -d: -f6) || return 0 # made at boot, as cloud-init does
    for each in "$home" "$home/.docker" "$home/.docker/config.json"; do
        [ -e "$each" ] || continue
        owner=$(stat -Lc %U "$each")
        [ "$owner" = "$1" ] || problem "$each belongs to $owner and not to $1, who would get no login"
    done
}

# PATH...: the homes among them, of which the system's own directories are none.
homes_of_people() {
    local each
    for each; do
        case $each in
            '' | /bin | /dev | /sbin | /usr | /usr/* | /proc | /nonexistent | /var/lib | /var/run | /run | /var/cache/*) ;;
            *) printf '%s\n' "$each" ;;
        esac
    done
}

[ "$(id -u)" = 0 ] || { echo 'verify: not root' >&2; exit 1; }
[ -x $opt/bin/ecrlogind ] || { echo "verify: $opt/bin/ecrlogind is not there: run provision.sh first" >&2; exit 1; }

# ---- no credential

mapfile -t homes < <({ getent passwd | cut -d: -f6; printf '%s\n' /root /home/*; } | sed 's:/*$::' | sort -u)
for home in "${homes[@]}"; do
    must_hold_no_login "$home"/.docker/config.json "$home"/.dockercfg "$home"/.config/containers/auth.json
    must_be_gone "$home"/.docker/.ecrlogind.* "$home"/.docker/ecrlogind-own* "$home"/.ecr "$home"/.netrc \
        "$home"/.git-credentials "$home"/.*_history "$home"/.lesshst "$home"/.local/share/fish/fish_history \
        "$home"/.aws/{credentials,cli,sso,boto,login}
done
must_hold_no_login /etc/containers/auth.json /run/containers/*/auth.json /run/user/*/containers/auth.json \
    /var/lib/kubelet/config.json /var/lib/kubelet/.dockercfg
must_be_gone /run/ecrlogind/credentials /run/ecrlogind/answers /var/lib/ecrlogind /run/user/*/ecrlogind-own \
    /etc/credstore /etc/credstore.encrypted /run/credstore /run/credstore.encrypted /var/lib/systemd/credential.secret \
    /var/lib/cloud/instances /var/lib/cloud/data /var/log/cloud-init*.log \
    "${STAGE:-/tmp/ecrlogind}" /tmp/packer-* /tmp/varfile_*
mapfile -t people < <(homes_of_people "${homes[@]}")
must_hold_no_secret /etc /root /home /srv /tmp /var/tmp /var/log /var/spool /var/lib/cloud /run "${people[@]}"

# ---- a host that logs in

[ ! -e /etc/ecrlogind/image-build ] || problem '/etc/ecrlogind/image-build is there: scrub.sh has not run to its end'
$opt/bin/ecrlogind check || problem 'the settings are not right: see above'
while read -r kind name; do
    case $kind in
        path) must_hold_no_login "$name" ;;
        user) must_own_its_files "$name" ;;
    esac
done < <($opt/bin/ecrlogind check --print 2>/dev/null | "$opt/bin/python" -I -c '
import sys, tomllib
for each in tomllib.load(sys.stdin.buffer).get("destinations", []):
    print("path", each["path"]) if "path" in each else print("user", each["user"])')
units=(/usr/lib/systemd/system/ecrlogind*)
systemd-analyze verify "${units[@]}" || problem 'the units are not right: see above'
[ "$(systemctl is-enabled ecrlogind.service 2>/dev/null)" = enabled ] || problem 'ecrlogind.service is not enabled'
if [ -d /run/systemd/system ] && systemctl --quiet is-active ecrlogind.service; then
    problem 'ecrlogind.service is running, and would write logins into the image'
fi
getent passwd ecrlogind >/dev/null || problem 'there is no user ecrlogind for the issuer'
for name in ecrlogind docker-credential-ecrlogind ecrlogind-credential-provider; do
    command -v "$name" >/dev/null || [ -x "/usr/local/bin/$name" ] || problem "$name is not on PATH"
done

if [ "$problems" -gt 0 ]; then
    printf 'verify: %s found: this image must not be published\n' "$problems" >&2
    exit 1
fi

# ---- what a cold start will read: on EC2 the blocks of a fresh volume come from S3, one by one

"$opt/bin/python" -I -B - "$(du -sk $opt | cut -f1)" <<'EOF'
import os, sys

opened = {}


def note(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)) and os.path.isfile(arguments[0]):
        opened[arguments[0]] = os.path.getsize(arguments[0])


sys.addaudithook(note)
import boto3

import ecrlogind.keeper.daemon
from ecrlogind.issuer import asking, chain, ecr

core = ecr.botocore.session.Session()
core.register_component("data_loader", chain.Loader())
boto3.Session("none", "none", botocore_session=core).client("ecr", region_name="eu-west-1")
print(f"verify: /opt/ecrlogind takes {int(sys.argv[1]) / 1024:.1f} MiB; keeper and issuer together")
print(f"verify: open {len(opened)} files of {sum(opened.values()) / 2**20:.1f} MiB until they are logged in")
EOF
echo 'verify: no credential is in this image, and it will log in at its next boot'
