"""`via = "docker-login"`, with the real parts: docker and its daemon, pass and its helper; AWS and ECR stand in."""

import base64
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from standin import Fault
from tests.support.dockerd import dockerd
from tests.support.hosts import api_names, loopback_address, on_real_names, resolving
from tests.support.keeper import Keeper, until
from tests.support.need import need
from tests.support.people import Person, installation, person

__all__ = ["dockerd"]
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("docker-login")]  # they share an installation

REGION = "eu-west-3"
HOST = "666677778888.dkr.ecr.eu-west-3.amazonaws.com"
UNREACHABLE = "999900001111.dkr.ecr.eu-west-3.amazonaws.com"
# Not on the PATH, where docker would take it for everybody's default store (see prepare.sh).
HELPER = Path("/usr/local/lib/ecrlogind-tests/docker-credential-pass")
KEY = """
Key-Type: eddsa
Key-Curve: ed25519
Subkey-Type: ecdh
Subkey-Curve: cv25519
Name-Real: {name}
{how}
%commit
"""
# Where there is no program of this name: docker's are hidden by what cannot be run.
WITHOUT_DOCKER = """
for each in /usr/local/bin/docker /usr/bin/docker /bin/docker; do
    [ ! -e "$each" ] || mount --bind /dev/null "$(readlink -f "$each")"
done
exec "$@"
"""


@dataclass
class Deploy:
    """A user whose docker keeps its logins in pass."""

    person: Person
    keeper: Keeper

    @property
    def config(self):
        return self.person.home / ".docker" / "config.json"

    def run(self, *command, **options):
        done = self.person.run(*command, **options)
        return done.returncode, done.stdout + done.stderr

    def must(self, *command, **options):
        code, said = self.run(*command, **options)
        assert code == 0, said
        return said

    def set_store(self, how="%no-protection"):
        """Make a key and a password store for it, and let docker use that."""
        need(HELPER.exists(), f"{HELPER}, which tests/support/prepare.sh puts there")
        need(shutil.which("pass"), "pass")
        programs = self.person.home / ".local" / "bin"
        self.must("mkdir", "-p", programs)
        self.must("ln", "-s", HELPER, programs)
        self.must("gpg", "--batch", "--quiet", "--gen-key", input=KEY.format(name=self.person.name, how=how))
        self.must("pass", "init", self.person.name)
        self.configure(credsStore="pass")

    def configure(self, **keys):
        known = json.loads(self.config.read_text()) if self.config.exists() else {}
        self.must("tee", self.config, input=json.dumps(known | keys))

    def log_in_to(self, host):
        aws = self.keeper.aws
        self.keeper.write_settings(
            [host],
            [{"user": self.person.name, "via": "docker-login"}],
            aws={"ca_bundle": str(aws.ca_file), "endpoints": {"imds": aws.endpoints["imds"]}},
        )

    def use_daemon(self, host):
        """Let docker find its daemon at *host*, by its own settings: no environment of the user's reaches it."""
        name = f"at-{len(host)}"
        self.must("docker", "context", "create", name, "--docker", f"host={host}")
        self.must("docker", "context", "use", name)

    def docker(self, *arguments, **options):
        path = f"{self.person.home}/.local/bin:/usr/local/bin:/usr/bin:/bin"
        return self.must("docker", *arguments, env={"PATH": path}, **options)

    def stored(self, host=HOST):
        """Return the password that the store has for *host*, if any."""
        code, said = self.run(HELPER, "get", input=host)
        if code and said.startswith("no usernames for"):  # between two files that it removes
            return None
        assert code == 0, said
        return json.loads(said)["Secret"] or None

    @property
    def login(self):
        [login] = self.keeper.document["logins"]
        return login

    @property
    def refused(self):
        """Return code, message and hint of what `ecrlogind login` was refused."""
        done = self.keeper.run("login")
        assert done.returncode == 1, done.stdout + done.stderr
        assert self.login["state"] == "failed"
        return self.login["error"]


@pytest.fixture(scope="module")
def program():
    with installation() as one:
        yield one


@pytest.fixture
def ecr(aws):
    with on_real_names(aws, *api_names(REGION), HOST):
        yield aws


@pytest.fixture
def deploy(ecr, tmp_path, dockerd, program):
    with person() as one:
        subprocess.run(["usermod", "--append", "--groups", "docker", one.name], check=True)
        made = Deploy(one, Keeper(tmp_path, ecr, program))
        made.log_in_to(HOST)
        made.use_daemon(dockerd.host)
        yield made
        made.keeper.end()
        made.run("gpgconf", "--kill", "all")


def logins_tried(ecr):
    return len(ecr.calls(service="registry", action="ping"))


def test_docker_keeps_the_login_in_pass_and_is_not_run_again_when_nothing_changed(deploy, ecr):
    deploy.set_store()

    done = deploy.keeper.run("login")

    assert done.returncode == 0, done.stdout + done.stderr
    password = ecr.newest_password(REGION)
    assert deploy.stored() == password
    assert (deploy.login["state"], deploy.login["via"]) == ("in_place", "docker-login")
    assert password not in deploy.config.read_text()
    assert deploy.config.stat().st_uid == deploy.person.uid
    tried, written = logins_tried(ecr), deploy.config.stat()

    assert deploy.keeper.run("login").returncode == 0

    assert (logins_tried(ecr), deploy.config.stat().st_ino) == (tried, written.st_ino)
    deploy.configure(currentContext="nowhere")  # docker could not even be asked to log out
    assert deploy.keeper.run("login").returncode == 0
    for secret in ecr.secrets():
        assert secret not in done.stdout + done.stderr


def test_logout_takes_it_out_by_docker(deploy):
    deploy.set_store()
    assert deploy.keeper.run("login").returncode == 0
    assert HOST in deploy.config.read_text()

    done = deploy.keeper.run("logout")

    assert done.returncode == 0, done.stdout + done.stderr
    assert deploy.stored() is None
    assert HOST not in deploy.config.read_text()


def test_a_host_without_a_store_is_logged_in_to_by_docker_too(deploy, ecr):
    assert deploy.keeper.run("login").returncode == 0

    assert HOST in json.loads(deploy.config.read_text())["auths"]
    assert deploy.login["state"] == "in_place"
    assert deploy.keeper.run("logout").returncode == 0
    assert HOST not in deploy.config.read_text()


def test_the_daemon_renews_heals_and_yields_to_a_job_until_it_logs_out(deploy, ecr):
    deploy.set_store()
    theirs = None
    ecr.world.lifetime = 6

    def holds_ours():
        return deploy.stored() in {each.value for each in ecr.passwords(REGION)} - {theirs}

    with deploy.keeper.running():
        until(holds_ours, "the login")
        first = deploy.stored()
        ecr.world.lifetime = 3600
        until(lambda: holds_ours() and deploy.stored() != first, "the renewal")

        deploy.docker("logout", HOST)
        until(holds_ours, "our login, put back")
        deploy.keeper.wait_for(states={HOST: "in_place"})

        theirs = ecr.world.passwords.issue(REGION, ecr.user("444455556666"), ecr.world.now, 3600).value
        deploy.docker("login", "--username", "AWS", "--password-stdin", HOST, input=theirs)
        deploy.keeper.run("login")
        deploy.keeper.wait_for(states={HOST: "foreign"})
        assert deploy.stored() == theirs

        deploy.docker("logout", HOST)
        until(holds_ours, "our login, put back after the job's")
        deploy.keeper.wait_for(states={HOST: "in_place"})


def test_a_locked_store_has_a_name_and_is_used_once_it_is_open(deploy, ecr):
    deploy.set_store("Passphrase: secret")
    name = base64.urlsafe_b64encode(HOST.encode()).decode()
    deploy.must("pass", "insert", "--multiline", f"docker-credential-helpers/{name}/AWS", input="of yesterday")
    deploy.must("gpgconf", "--kill", "gpg-agent")  # which knows the passphrase still

    error = deploy.refused

    assert error["code"] == "store_locked", error
    assert deploy.person.name in error["hint"]
    unlock = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "secret", "--decrypt"]
    deploy.must(*unlock, f"{deploy.person.home}/.password-store/docker-credential-helpers/{name}/AWS.gpg")
    assert deploy.keeper.run("login").returncode == 0
    assert deploy.stored() == ecr.newest_password(REGION)


def test_no_docker_has_a_name(deploy):
    namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", WITHOUT_DOCKER, "sh"]
    deploy.keeper.program = [*namespace, *deploy.keeper.program]

    assert deploy.refused["code"] == "no_docker"


def test_without_a_daemon_docker_asks_the_registry_itself(deploy):
    deploy.use_daemon("unix:///nowhere/docker.sock")

    done = deploy.keeper.run("login")

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_daemon_and_no_right_to_its_socket_have_names_where_that_comes_to_nothing(deploy, dockerd):
    with resolving(loopback_address(), UNREACHABLE):
        deploy.log_in_to(UNREACHABLE)
        assert deploy.refused["code"] == "registry_unreachable"

        subprocess.run(["gpasswd", "--delete", deploy.person.name, "docker"], check=True, capture_output=True)
        error = deploy.refused
        assert (error["code"], error["hint"]) == ("daemon_denied", f"usermod -aG docker {deploy.person.name}")

        deploy.use_daemon("unix:///nowhere/docker.sock")
        assert deploy.refused["code"] == "no_daemon"


def test_a_registry_that_refuses_has_a_name_and_a_login_follows_once_it_does_not(deploy, ecr):
    denial = ecr.fault(Fault(service="registry", status=401))

    error = deploy.refused

    assert error["code"] == "login_refused"
    for secret in ecr.secrets():
        assert secret not in json.dumps(error)
    denial.lift()
    assert deploy.keeper.run("login").returncode == 0


def test_under_systemd_a_unit_of_its_own_is_asked_for_by_name(deploy, notify_socket):
    deploy.keeper.environment["NOTIFY_SOCKET"] = notify_socket.path
    with deploy.keeper.running():
        deploy.keeper.wait_for(states={HOST: "failed"})

    error = deploy.login["error"]
    assert error["code"] == "no_docker_login_unit"
    assert error["hint"] == f"systemctl enable --now ecrlogind-docker-login@{deploy.person.name}.socket"
