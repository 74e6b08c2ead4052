"""Each kind of identity on a booted host, where the issuer is a user without home, environment or file of ours."""

import pytest

from standin import StandIn
from tests.support.hosts import api_names
from tests.support.identities import ACCOUNT, HOST, KINDS, TOKEN, USER, Kind, kind, signed
from tests.support.keeper import toml

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("identities")]  # one machine serves them all

IMDS = "169.254.169.254"
AWS = "127.0.0.10"
PLACE = "/usr/local/lib/aws"
DROP_IN = "/etc/systemd/system/ecrlogind.service.d/environment.conf"


class Host:
    """A booted machine and its AWS, set up anew for each test."""

    def __init__(self, machine, aws):
        self.machine = machine
        self.aws = aws
        self.name = machine.output("uname -n")

    def forget(self):
        """Leave nothing of the last identity."""
        world = self.aws.world
        world.web_identity = None
        world.identities.roles.clear()
        self.machine.run(
            f"systemctl stop ecrlogind; rm -rf /run/ecrlogind/credentials {PLACE} {DROP_IN} /root/.aws /root/.docker"
        )
        self.aws.forget_calls()

    def write(self, one):
        """Write settings, files and the unit's environment for a kind of identity."""
        self.machine.run(f"mkdir -p {PLACE} /root/.aws {DROP_IN.rpartition('/')[0]}")
        for path, (text, mode) in one.files.items():
            self.machine.write(path, text, mode=mode)
        environment = "".join(f'Environment="{name}={value}"\n' for name, value in one.environment.items())
        self.machine.write(DROP_IN, f"[Service]\n{environment}", mode=0o600)
        entry = "".join(f", {key} = {toml(value)}" for key, value in one.entry.items())
        aws = "".join(f"{key} = {toml(value)}\n" for key, value in one.aws.items())
        self.machine.write(
            "/etc/ecrlogind/config.toml",
            f'registries = [{{ host = "{HOST}"{entry} }}]\ndestinations = [{{ user = "root" }}]\n'
            f'[check]\nregistry = false\n[renew]\nfloor = "200ms"\n[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n{aws}',
        )

    def start(self):
        """Start the daemon; return once it is logged in."""
        self.machine.run("systemctl daemon-reload && systemctl start ecrlogind")
        status = self.machine.run("/opt/ecrlogind/bin/ecrlogind status", check=False)
        assert status.returncode == 0, status.stdout


@pytest.fixture(scope="module")
def booted(machines_of_module, tmp_path_factory):
    with StandIn(tmp_path_factory.mktemp("aws")) as aws:
        machine = machines_of_module.make(hosts=dict.fromkeys(api_names("eu-west-1", "us-east-1"), AWS))
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.boot()
        machine.give_address(f"{IMDS}/32")
        machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
        machine.wait_for("systemctl is-active ecrlogind-issuer.socket || systemctl start ecrlogind-issuer.socket")
        yield Host(machine, aws)


@pytest.fixture
def host(booted):
    booted.forget()
    return booted


def only_for(user, one):
    """Let the credential process of a kind serve *user* alone."""
    path = f"{PLACE}/program"
    program, mode = one.files[path]
    one.files[path] = (program.replace("#!/bin/sh\n", f'#!/bin/sh\n[ "$(id -un)" = {user} ] || exit 4\n'), mode)


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_identity_signs_under_systemd_what_it_signs_by_hand(name, host):
    one = kind(name, host.aws, PLACE)
    if name == "credential_process":
        only_for("ecrlogind", one)
    host.write(one)

    host.start()

    assert signed(host.aws, host.name) == one.signed
    assert all(call.user_agent.startswith("ecrlogind/") for call in host.aws.calls(action=TOKEN))


def test_the_files_of_root_s_passwd_home_count_whatever_home_says(host):
    user = host.aws.user(ACCOUNT)
    text = f"[default]\naws_access_key_id = {user.access_key}\naws_secret_access_key = {user.secret_key}\n"
    host.write(Kind([], environment={"HOME": "/nonexistent"}, files={"/root/.aws/credentials": (text, 0o600)}))

    host.start()

    assert signed(host.aws, host.name) == [(TOKEN, USER)]


@pytest.fixture
def without_socket(host):
    host.machine.run("systemctl stop ecrlogind-issuer.socket")
    yield host
    host.machine.run("chmod 755 /opt/ecrlogind && systemctl start ecrlogind-issuer.socket")


@pytest.mark.parametrize(("mode", "user", "warnings"), [("755", "ecrlogind", 0), ("700", "root", 1)])
def test_by_hand_the_issuer_is_its_user_if_that_can_run_it_else_root_with_a_warning(
    without_socket, mode, user, warnings
):
    host = without_socket
    one = kind("credential_process", host.aws, PLACE)
    only_for(user, one)
    host.write(one)
    host.machine.run(f"chmod {mode} /opt/ecrlogind")

    done = host.machine.run("/opt/ecrlogind/bin/ecrlogind login", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert signed(host.aws, host.name) == one.signed
    assert (done.stdout + done.stderr).count("The user ecrlogind cannot run") == warnings
