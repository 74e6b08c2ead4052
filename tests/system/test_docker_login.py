"""`via = "docker-login"` on a booted host: the keeper stays confined, and a unit of the user's runs docker for it.

docker's store there is a helper by its protocol, a script; the real pass is in tests/process/test_docker_login.py.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from standin import StandIn
from tests.support.hosts import api_names
from tests.support.need import need

pytestmark = pytest.mark.system

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
IMDS = "169.254.169.254"
AWS = "127.0.0.10"
SETTINGS = """
registries = ["self"]
destinations = [{ user = "deploy", via = "docker-login" }]
[aws]
ca_bundle = "/etc/ssl/certs/ca-certificates.crt"
[check]
registry = false
"""
KEEP = """#!/bin/sh
umask 077
cd "$HOME" || exit 1
case $1 in
    get) read -r server
        cat "kept/$server" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    store) input=$(cat); server=${input#*'"ServerURL":"'}; mkdir -p kept
        printf '%s\\n' "$input" >"kept/${server%%'"'*}"; id >who; env >environment ;;
    erase) read -r server; rm -f "kept/$server" ;;
esac
"""
SOCKET = "ecrlogind-docker-login@deploy.socket"
SERVICE = "ecrlogind-docker-login@deploy.service"


@pytest.fixture
def aws(tmp_path):
    with StandIn(tmp_path) as aws:
        yield aws


@pytest.fixture
def host(machines, aws, tmp_path):
    need(shutil.which("docker"), "docker")
    programs = tmp_path / "programs"
    programs.mkdir(mode=0o755)
    shutil.copy(Path(shutil.which("docker")).resolve(), programs / "docker")
    (programs / "docker-credential-keep").write_text(KEEP)
    for each in programs.iterdir():
        each.chmod(0o755)
    # docker is shut out of every directory on the way to the test's own.
    for each in (programs, *programs.parents):
        if each.stat().st_uid == os.geteuid() and str(each).startswith("/tmp/"):
            each.chmod(each.stat().st_mode | 0o011)
    machine = machines.make(
        hosts=dict.fromkeys([*api_names("eu-west-1"), HOST], AWS), mounts={str(programs): "/usr/local/bin"}
    )
    machine.write("/etc/ssl/certs/ca-certificates.crt", aws.ca_file.read_text())
    machine.write("/etc/ecrlogind/config.toml", SETTINGS)
    machine.boot()
    machine.run("useradd --create-home deploy")
    machine.run('mkdir -m 0700 ~/.docker && echo \'{"credsStore": "keep"}\' >~/.docker/config.json', user="deploy")
    machine.give_address(f"{IMDS}/32")
    machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
    return machine


def login(host):
    document = json.loads(
        host.run("/opt/ecrlogind/bin/ecrlogind status --json", check=False).stdout or '{"logins": [{}]}'
    )
    return document["logins"][0]


def test_the_confined_keeper_logs_in_by_the_user_s_unit_and_says_how_to_have_one(host, aws):
    host.run("systemctl start --no-block ecrlogind")
    host.wait_for(lambda: login(host).get("state") == "failed")
    error = login(host)["error"]
    assert (error["code"], error["hint"]) == ("no_docker_login_unit", f"systemctl enable --now {SOCKET}")

    host.run(error["hint"])
    host.run("/opt/ecrlogind/bin/ecrlogind login")  # rather than wait for the next try
    host.wait_for(lambda: login(host)["state"] == "in_place")

    kept = json.loads(host.read(f"/home/deploy/kept/{HOST}"))
    assert (kept["Username"], kept["Secret"]) == ("AWS", aws.newest_password("eu-west-1"))
    assert "uid=" in host.read("/home/deploy/who")
    assert "(deploy)" in host.read("/home/deploy/who")
    assert "NOTIFY_SOCKET" not in host.read("/home/deploy/environment")
    host.wait_for(f"systemctl show -P ActiveState {SERVICE} | grep -x inactive")

    host.run('rm -r ~/kept && echo \'{"credsStore": "keep"}\' >~/.docker/config.json', user="deploy")
    host.wait_for(f"test -s /home/deploy/kept/{HOST}")
    host.wait_for(lambda: login(host)["state"] == "in_place")

    host.run("systemctl stop ecrlogind && test -S /run/ecrlogind-docker-login/deploy.sock")
    done = host.run("/opt/ecrlogind/bin/ecrlogind logout", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.output("ls /home/deploy/kept") == ""
    for secret in aws.secrets():
        assert secret not in host.journal()


def test_nobody_but_root_reaches_the_user_s_unit_and_it_has_no_more_rights_than_the_user(host):
    host.run(f"systemctl start {SOCKET}")
    assert host.output("stat -c '%a %U' /run/ecrlogind-docker-login /run/ecrlogind-docker-login/deploy.sock") == (
        "700 root\n600 root"
    )
    found = host.settings_of(SERVICE, "User", "CapabilityBoundingSet", "NoNewPrivileges", "PrivateNetwork")
    assert found == {"User": "deploy", "CapabilityBoundingSet": "", "NoNewPrivileges": "yes", "PrivateNetwork": "no"}
