#!/usr/bin/env bash
# Install ecrlogind into an image that is being built, or take it out again. As root; a second run changes nothing.
#
#   provision.sh            install or upgrade
#   provision.sh --remove   take out everything that this script ever put there, our logins and the settings included
#
# What it goes by, all from the environment:
#
#   RUNNER_USERS="ec2-user root"    whose config.json gets the logins; a login for root alone is of no use to a runner
#   REGISTRIES="public.ecr.aws"     registries by host, besides those of the settings; without both it is "self"
#   SETTINGS=FILE                   becomes /etc/ecrlogind/config.toml
#   RUNNER_UNITS="actions.runner.ORG-"  units of runners that are to wait for the logins; a dash at the end stands for
#                                   all whose names begin so. What cloud-init starts, gitlab-runner, buildkite-agent
#                                   and kubelet wait without it
#   PYTHON=/opt/py/bin/python3      an interpreter, 3.11 or newer; else the system's are looked through, else one is
#                                   installed beside the system's own
#   WHEELHOUSE=DIR                  what `make wheelhouse` made: installs from it alone, hashes checked
#   PACKAGE=ecrlogind==0.1.0        without a wheelhouse: what pip is to get, from where it is configured to
#   STAGE=/tmp/ecrlogind            what Packer's file provisioner uploaded: `wheelhouse` in it is WHEELHOUSE, `rootfs`
#                                   in it is copied to / as it stands
#   LIVE=yes                        no image build: the next boot may log in, and a service that runs is restarted
#
# It enables the service and never starts it. It leaves /etc/ecrlogind/image-build, which keeps the service from
# starting, also after a reboot in the middle of the build, until scrub.sh takes it away.
set -euo pipefail
umask 022
export LC_ALL=C
unset PYTHONPATH PYTHONHOME "${!ECRLOGIND_@}" # they would lead our own commands elsewhere

opt=/opt/ecrlogind
etc=/etc/ecrlogind
marker=$etc/image-build
units=/usr/lib/systemd/system
# Each directory (with a slash) and each file that this script made outside of /opt/ecrlogind, parents first.
list=/usr/local/share/ecrlogind/placed
stage=${STAGE:-/tmp/ecrlogind}
changes=0

say() { printf 'provision: %s\n' "$1"; }

did() {
    say "$1"
    changes=$((changes + 1))
}

die() {
    printf 'provision: %s\n  %s\n' "$1" "$2" >&2
    exit 1
}

# COMMAND...: run as a user without any rights.
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }

# ---- a Python

# PYTHON: whether a venv of it can be ours, and any user can run it.
fits() {
    as_nobody "$1" -I -c 'import ensurepip, sys, venv
sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.base_prefix)' >/dev/null 2>&1
}

# -> python: its path without links, for a link may be turned to another version later.
find_python() {
    local each
    if [ -n "${PYTHON:-}" ]; then
        python=$(command -v -- "$PYTHON") || python=$PYTHON
        fits "$python" ||
            die "PYTHON=$PYTHON is no Python 3.11 or newer with venv and ensurepip that every user can run" \
                'name one outside of homes, readable and executable for all'
    elif ! look_for_python; then
        install_python
        look_for_python || die 'no Python 3.11 or newer with venv and ensurepip is here' 'name one by PYTHON='
    fi
    python=$(readlink -f -- "$python")
}

look_for_python() {
    local each
    for each in /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3; do
        python=$(command -v "$each") && fits "$python" && return
    done
    return 1
}

# Never another version under the name of the system's own: that is the system's to decide.
install_python() {
    local offered
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get --quiet=2 -o DPkg::Lock::Timeout=300 update
        offered=$(apt-cache policy python3 | awk '/Candidate:/ { print $2 }')
        case $offered in
            3.[0-9].* | 3.10.* | '' | '(none)')
                die "the Python of this system is ${offered:-not known} and 3.11 is needed" \
                    'install one from elsewhere before this and name it by PYTHON=' ;;
        esac
        apt-get --quiet=2 -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends python3 python3-venv >/dev/null
        did 'installed python3 and python3-venv'
    elif command -v dnf >/dev/null; then
        dnf --quiet --assumeyes install python3.12
        did 'installed python3.12'
    else
        die 'no Python 3.11 or newer is here, nor apt-get or dnf to get it by' 'install one and name it by PYTHON='
    fi
}

# ---- /opt/ecrlogind: a venv at its final place, since a venv cannot be moved

# -> source, key: where to install from; all that decides what an install brings.
find_source() {
    source=${WHEELHOUSE:-}
    [ -n "$source" ] || ! [ -f "$stage/wheelhouse/requirements.txt" ] || source=$stage/wheelhouse
    if [ -n "$source" ]; then
        [ -f "$source/requirements.txt" ] || die "$source has no requirements.txt" 'make it with: make wheelhouse'
        key=$(sha256sum <"$source/requirements.txt")
    else
        package=${PACKAGE:-ecrlogind}
        key=$package
        [ ! -f "$package" ] || key=$(sha256sum <"$package")
    fi
    key="$key $python $("$python" -I -c 'import sys; print(*sys.version_info[:2])') $(declare -f fill prune works | sha256sum)"
}

make_venv() {
    if [ -f $opt/.made-of ] && [ "$(cat $opt/.made-of)" = "$key" ] && works; then return; fi
    # The old one comes back if the new one fails.
    rm -rf $opt.old
    [ ! -e $opt ] || mv $opt $opt.old
    trap 'rm -rf $opt; [ ! -e $opt.old ] || mv $opt.old $opt' EXIT
    fill
    prune
    works || die "what was installed does not work" 'see above; this may be a fault of ecrlogind'
    printf '%s\n' "$key" >$opt/.made-of
    trap - EXIT
    rm -rf $opt.old
    did "made $opt of $python: $(version), $(du -sm $opt | cut -f1) MB"
}

version() { "$opt/bin/ecrlogind" --version; }

fill() {
    local pip=("$opt/bin/python" -m pip --quiet --no-cache-dir --disable-pip-version-check)
    "$python" -I -m venv $opt
    if [ -n "$source" ]; then
        "${pip[@]}" install --no-compile --no-index --find-links "$source" --require-hashes -r "$source/requirements.txt"
    else
        "${pip[@]}" install --no-compile "${package}[metrics]"
    fi
    # Nobody installs anything more into it.
    "${pip[@]}" uninstall --yes pip setuptools 2>/dev/null
}

# On EC2 a fresh volume is read from S3 block by block: what is not there costs nothing, and bytecode whose source need
# not be looked at costs half. Models are read whole to make a client, so they hold nothing but what that takes.
prune() {
    "$opt/bin/python" -I -B - <<'EOF'
import gzip, json, pathlib, shutil, sys

import boto3, botocore
from ecrlogind.issuer.chain import SERVICES

kept = {*SERVICES, "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
data = pathlib.Path(botocore.__file__).parent / "data"
boto3_data = pathlib.Path(boto3.__file__).parent
gone = [entry for entry in data.iterdir() if entry.name.removesuffix(".gz") not in kept]
gone += [*data.glob("*/*/examples-*.json*"), boto3_data / "data", boto3_data / "examples"]
gone += pathlib.Path(sys.prefix).rglob("__pycache__")
for entry in gone:
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)


def bare(value):
    """Take out what is there for people: half of a model."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k != "documentation" or not isinstance(v, str)}
    return [bare(each) for each in value] if isinstance(value, list) else value


prefixes = set()
for path in data.glob("*/*/service-2.json.gz"):
    model = bare(json.loads(gzip.decompress(path.read_bytes())))
    prefixes.add(model["metadata"]["endpointPrefix"])
    path.write_bytes(gzip.compress(json.dumps(model).encode(), mtime=0))
endpoints = json.loads((data / "endpoints.json").read_text())
for partition in endpoints["partitions"]:
    partition["services"] = {k: v for k, v in partition["services"].items() if k in prefixes}
(data / "endpoints.json").write_text(json.dumps(endpoints))
EOF
    "$opt/bin/python" -I -m compileall -qq --invalidation-mode unchecked-hash "$opt/lib"
}

# Every module of ours can be loaded, and a client made for every service, by a user without rights.
works() {
    as_nobody env -i HOME=/nonexistent "$opt/bin/python" -I -B - <<'EOF'
import importlib, pkgutil

import boto3, prometheus_client
import ecrlogind
from ecrlogind.issuer.chain import SERVICES

for module in pkgutil.walk_packages(ecrlogind.__path__, "ecrlogind."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
session = boto3.Session(aws_access_key_id="none", aws_secret_access_key="none")
for region in ("eu-west-1", "cn-north-1", "us-gov-west-1"):
    for service in SERVICES:
        session.client(service, region_name=region)
EOF
}

# ---- what lies elsewhere

# PATH: whether this script made it, now or before.
is_ours() {
    local each
    case $1 in "$etc"/*) return 0 ;; esac
    for each in "${placed[@]}" "${before[@]}"; do
        [ "$each" != "$1" ] || return 0
    done
    return 1
}

# PATH: make the directories that lead to it, and remember them.
make_parents() {
    local parent=${1%/*} missing=()
    until [ -z "$parent" ] || [ -d "$parent" ]; do
        missing=("$parent" "${missing[@]}")
        parent=${parent%/*}
    done
    for parent in "${missing[@]}"; do
        mkdir -m 0755 "$parent"
        case $parent in "$etc"/*) ;; *) made+=("$parent/") ;; esac
    done
}

# FILE PATH: put a copy of FILE there, its right to be executed included.
place() {
    local mode=0644
    [ ! -x "$1" ] || mode=0755
    if [ -e "$2" ] && ! is_ours "$2" && ! cmp -s "$1" "$2"; then
        die "$2 is there already and is not ours" 'take it away, or leave it out of what is to be placed'
    fi
    make_parents "$2"
    case $2 in "$etc"/*) ;; *) placed+=("$2") ;; esac
    if cmp -s "$1" "$2" && [ "$(stat -c %a "$2")" = "${mode#0}" ]; then return; fi
    install -m "$mode" "$1" "$2"
    did "placed $2"
}

# TEXT PATH: the same for a text.
place_text() {
    local file
    file=$(mktemp)
    printf '%s\n' "$1" >"$file"
    place "$file" "$2"
    rm -f "$file"
}

# TARGET PATH: the same for a link.
link() {
    if [ -e "$2" ] && ! is_ours "$2" && [ "$(readlink -- "$2")" != "$1" ]; then
        die "$2 is there already and is not ours" 'take it away'
    fi
    make_parents "$2"
    placed+=("$2")
    [ "$(readlink -- "$2")" != "$1" ] || return 0
    ln -sfn "$1" "$2"
    did "placed $2"
}

place_files() {
    local each catalog=''
    for each in "$opt"/share/ecrlogind/systemd/*; do
        case $each in
            */ecrlogind.conf) place "$each" /usr/lib/sysusers.d/ecrlogind.conf ;;
            *.catalog) place "$each" "/usr/lib/systemd/catalog/${each##*/}" && catalog=yes ;;
            *.service | *.socket | *.path | *.timer | *.target) place "$each" "$units/${each##*/}" ;;
        esac
    done
    for each in "$opt"/bin/*ecrlogind*; do
        link "$each" "/usr/local/bin/${each##*/}"
    done
    while read -r each; do
        place "$each" "/usr/local/share/${each#"$opt/share/"}"
    done < <(find $opt/share/man $opt/share/bash-completion $opt/share/zsh $opt/share/fish -type f 2>/dev/null | sort)
    # shellcheck disable=SC2086  # a list of words
    for each in ${RUNNER_UNITS:-}; do
        place $opt/share/ecrlogind/systemd/runner.conf "/etc/systemd/system/${each%.service}.service.d/ecrlogind.conf"
    done
    while read -r each; do
        place "$each" "${each#"$stage/rootfs"}"
    done < <(find "$stage/rootfs" -type f 2>/dev/null | sort)
    getent passwd ecrlogind >/dev/null || { systemd-sysusers ecrlogind.conf && did 'made the user ecrlogind'; }
    if [ -n "$catalog" ] && [ "$changes" -gt 0 ]; then journalctl --update-catalog; fi
}

# What an earlier version brought and this one does not.
forget_others() {
    local path now=" ${placed[*]} "
    for path in "${before[@]}"; do
        case $now in *" $path "*) continue ;; esac
        case $path in
            */) ;; # ours still, should anything be left in it
            *) rm -f "$path" && did "removed $path, which is of an earlier version" ;;
        esac
    done
}

# ---- settings

place_settings() {
    local each registries='' destinations=''
    local usual='# packer/provision.sh was given no settings; what else it was given is in config.d.'
    [ -d $etc ] || { install -d -m 0755 $etc && did "made $etc"; }
    if [ "${LIVE:-}" != yes ] && ! [ -e $marker ]; then
        printf '%s\n' 'An image is being built: ecrlogind does not start. packer/scrub.sh takes this away.' >$marker
        did "placed $marker: ecrlogind will not start before scrub.sh has run"
    fi
    if [ -n "${SETTINGS:-}" ]; then
        place "$SETTINGS" $etc/config.toml
    elif ! [ -e "$stage/rootfs$etc/config.toml" ] && { ! [ -e $etc/config.toml ] || grep -qxF "$usual" $etc/config.toml; }
    then
        [ -n "${REGISTRIES:-}" ] || usual="$usual
registries = [\"self\"]"
        place_text "$usual" $etc/config.toml
    fi
    # shellcheck disable=SC2086  # lists of words
    {
        for each in ${REGISTRIES:-}; do
            case $each in
                *[!A-Za-z0-9.-]*) die "REGISTRIES: $each is no host name" 'what else a registry has goes into SETTINGS' ;;
            esac
            registries="$registries${registries:+, }\"$each\""
        done
        for each in ${RUNNER_USERS:-}; do
            case $each in
                *[!A-Za-z0-9._-]*) die "RUNNER_USERS: $each is no user name" 'write the names with spaces between them' ;;
            esac
            destinations="$destinations${destinations:+, }{ user = \"$each\" }"
        done
    }
    if [ -n "$registries$destinations" ]; then
        place_text "# REGISTRIES and RUNNER_USERS, by packer/provision.sh
${registries:+registries = [$registries]
}${destinations:+destinations = [$destinations]}" $etc/config.d/10-image.toml
    elif [ -e $etc/config.d/10-image.toml ]; then
        rm $etc/config.d/10-image.toml
        did "removed $etc/config.d/10-image.toml: neither REGISTRIES nor RUNNER_USERS are given any more"
    fi
    if [ -z "$destinations" ] && ! grep -rqs '^ *destinations' $etc/config.toml $etc/config.d "$stage/rootfs$etc"; then
        die 'nobody is named whose logins are to be kept' \
            'name the user that the runner runs as: RUNNER_USERS="ec2-user root", or destinations in SETTINGS'
    fi
}

# ---- the whole

install_all() {
    local path all earlier=()
    place_settings
    find_python
    find_source
    make_venv
    place_files
    forget_others
    mkdir -p "${list%/*}"
    for path in "${before[@]}"; do
        case $path in */) earlier+=("$path") ;; esac
    done
    all=$(printf '%s\n' "${earlier[@]}" "${made[@]}" "${placed[@]}" | awk '$0 && !seen[$0]++')
    [ "$all" = "$(cat $list 2>/dev/null)" ] || printf '%s\n' "$all" >$list
    if [ "$changes" -gt 0 ]; then
        if command -v selinuxenabled >/dev/null && selinuxenabled; then
            restorecon -RF $opt $etc "${placed[@]%/}" && did 'labelled for SELinux'
        fi
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
        if [ "${LIVE:-}" = yes ] && systemctl --quiet is-active ecrlogind.service; then
            systemctl --no-block try-restart ecrlogind.service
            did 'restarts ecrlogind.service, which ran what was there before'
        fi
    fi
    if ! systemctl --quiet is-enabled ecrlogind.service 2>/dev/null; then
        systemctl --quiet enable ecrlogind.service
        did 'enabled ecrlogind.service, which starts at the next boot and not now'
    fi
    $opt/bin/ecrlogind check || die 'the settings are not right' 'mend what is named above'
    if [ "$changes" = 0 ]; then say 'nothing to do'; fi
}

remove_all() {
    local path
    if [ -d /run/systemd/system ]; then
        systemctl --quiet stop ecrlogind.service ecrlogind-issuer.socket 2>/dev/null || true
    fi
    if [ -x $opt/bin/ecrlogind ] && [ -f $etc/config.toml ]; then
        $opt/bin/ecrlogind logout || say 'not all of our logins could be taken out: see above'
    fi
    systemctl --quiet disable ecrlogind.service 2>/dev/null || true
    for ((at = ${#before[@]} - 1; at >= 0; at--)); do
        path=${before[at]}
        case $path in
            */) rmdir --ignore-fail-on-non-empty "$path" 2>/dev/null || true ;;
            *) rm -f "$path" ;;
        esac
    done
    rm -rf $opt $opt.old $etc /run/ecrlogind "${list%/*}"
    if getent passwd ecrlogind >/dev/null; then userdel ecrlogind; fi
    if getent group ecrlogind >/dev/null; then groupdel ecrlogind; fi
    journalctl --update-catalog 2>/dev/null || true
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
    say 'removed ecrlogind, its settings and its logins; a Python that was installed for it stays'
}

[ "$(id -u)" = 0 ] || die 'not root' 'run it by sudo; see the guide for execute_command in Packer'
placed=() made=() before=()
[ ! -f $list ] || mapfile -t before <"$list"
case ${1:-} in
    '') install_all ;;
    --remove) remove_all ;;
    *)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
        exit 2 ;;
esac
