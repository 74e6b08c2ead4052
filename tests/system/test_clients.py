"""Unmodified clients against a real registry, with the logins of a real keeper: before, after, after a renewal.

tests/clients/test_real_clients.py has the helper's own ways; here it is one of the ways that a login comes to a client.
"""

import base64
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import registry
from tests.support.hosts import api_names, on_real_names, resolving
from tests.support.image import base, wheel
from tests.support.keeper import Keeper, until
from tests.support.need import need
from tests.support.people import installation, person

pytestmark = pytest.mark.system

REGION = "eu-west-2"
HOST = "888899990000.dkr.ecr.eu-west-2.amazonaws.com"
PUBLIC = "registry.ecrlogind-test.example"
IMAGE = f"{HOST}/app:v1"
SECOND = "999900001111.dkr.ecr.eu-west-2.amazonaws.com"
HELPER = Path(__file__).parents[2] / "bin" / "docker-credential-ecrlogind"

# testcontainers for Node, as prepare.sh installs it, and what pulls with it.
NODE_MODULES = Path("/usr/local/lib/ecrlogind-tests/node/node_modules")
NODE_PULL = Path(__file__).parents[1] / "support" / "node" / "pull.js"

# Root's own file of podman's, in a /run of its own: where skopeo looks first.
AT_RUN = """
mount -t tmpfs tmpfs /run && mkdir -p /run/containers/0 || exit
[ ! -e "$0" ] || cp "$0" /run/containers/0/auth.json
exec "$@"
"""

DOCKER_PY = "import docker, sys; docker.from_env(timeout=60).images.pull(sys.argv[1])"
# The image has nothing in it that could run: a pull is all that can be seen of it.
TESTCONTAINERS = """
import docker, sys
from testcontainers.core.container import DockerContainer
images = docker.from_env(timeout=60).images
if images.list(sys.argv[1]):
    images.remove(sys.argv[1], force=True)
container = DockerContainer(sys.argv[1]).with_command("/content")
try:
    container.start()
except docker.errors.APIError:
    if container.get_wrapped_container() is not None:
        container.get_wrapped_container().remove(force=True)
images.get(sys.argv[1])
"""


class Place:
    """A host's registries and AWS, and root's clients there with a home of the test's."""

    def __init__(self, directory, aws, dockerd, real, keeper):
        self.aws = aws
        self.real = real
        self.keeper = keeper
        self.home = directory / "home"
        self.certificates = directory / "certs"
        self.certificates.mkdir()
        shutil.copy(aws.ca_file, self.certificates / "ca.crt")
        self.stores = Path(tempfile.mkdtemp(prefix="ecrl-", dir="/tmp"))  # podman's paths may be no longer than 50
        self.environment = {
            "PATH": f"{HELPER.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "DOCKER_HOST": dockerd.host,
            "ECRLOGIND_STATE": str(keeper.state),
            "TESTCONTAINERS_RYUK_DISABLED": "true",
        }

    @property
    def config(self):
        return self.home / ".docker" / "config.json"

    def run(self, *command, **environment):
        done = subprocess.run(
            [*map(str, command)],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode == 0, done.stdout + done.stderr

    def clients(self):
        """Return how each client pulls, by name."""
        own = {"HOME": "/nonexistent"}
        stores = [*("--root", self.stores / "root", "--runroot", self.stores / "run"), "--storage-driver", "vfs"]
        here = ["--cert-dir", self.certificates, f"docker://{IMAGE}"]
        elsewhere = f"{PUBLIC}/app:v1"
        for program in ("docker", "skopeo", "podman", "buildah"):
            need(shutil.which(program), program)
        for package in ("docker", "testcontainers"):
            need(importlib.util.find_spec(package), f"{package}, the Python package")
        need(shutil.which("node") and NODE_MODULES.exists(), "testcontainers for Node, from npm")
        # Where a container's ports are is nothing that a pull asks, but it is looked for first, by running one.
        node = {"NODE_PATH": str(NODE_MODULES), "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1"}
        return {
            "docker": lambda: self.run("docker", "pull", IMAGE),
            "docker, by DOCKER_CONFIG": lambda: self.run(
                "docker", "pull", IMAGE, **own, DOCKER_CONFIG=str(self.config.parent)
            ),
            "docker-py": lambda: self.run(sys.executable, "-c", DOCKER_PY, IMAGE),
            "docker-py, by DOCKER_CONFIG": lambda: self.run(
                sys.executable, "-c", DOCKER_PY, IMAGE, **own, DOCKER_CONFIG=str(self.config.parent)
            ),
            "testcontainers": lambda: self.run(sys.executable, "-c", TESTCONTAINERS, f"{HOST}/tested:v1"),
            "testcontainers for Node": lambda: self.run("node", NODE_PULL, IMAGE, **node),
            "testcontainers for Node, by DOCKER_CONFIG": lambda: self.run(
                "node", NODE_PULL, IMAGE, **node, **own, DOCKER_CONFIG=str(self.config.parent)
            ),
            "testcontainers for Node, from elsewhere": lambda: self.run("node", NODE_PULL, elsewhere, **node),
            "skopeo": lambda: self.run("skopeo", "inspect", *here),
            "skopeo, by /run/containers": lambda: self.run(
                *("unshare", "--mount", "--propagation", "private", "sh", "-c", AT_RUN),
                *(self.config, "skopeo", "inspect", *here),
                **own,
            ),
            "skopeo, by REGISTRY_AUTH_FILE": lambda: self.run(
                "skopeo", "inspect", *here, **own, REGISTRY_AUTH_FILE=str(self.config)
            ),
            "podman": lambda: self.run("podman", *stores, "pull", *here),
            "podman, by --authfile": lambda: self.run(
                "podman", *stores, "pull", "--authfile", self.config, *here, **own
            ),
            "buildah": lambda: self.run("buildah", *stores, "pull", "--policy", "always", *here),
            "docker, from elsewhere": lambda: self.run("docker", "pull", elsewhere),
            "skopeo, from elsewhere": lambda: self.run(
                "skopeo", "inspect", "--cert-dir", self.certificates, f"docker://{elsewhere}"
            ),
        }

    def refused(self):
        """Let every client pull; return what those said that could not, by name."""
        with ThreadPoolExecutor(3) as pool:
            done = {name: pool.submit(pull) for name, pull in self.clients().items()}
        said = {name: each.result() for name, each in done.items()}
        return {name: words for name, (came, words) in said.items() if not came}


@pytest.fixture
def real(aws, tmp_path):
    """Run the registries, with AWS's API where it stands for everybody else."""
    with (
        registry.running(tmp_path / "registry", aws.authority, HOST) as one,
        registry.running(tmp_path / "public", aws.authority, PUBLIC, anonymous=True) as other,
        resolving(one.address, HOST),
        resolving(other.address, PUBLIC),
        on_real_names(aws, *api_names(REGION)),
    ):
        one.set_password("whoever fills it")
        one.push("app:v1", "whoever fills it")
        one.push("tested:v1", "whoever fills it")
        one.set_password("nobody knows")
        other.push("app:v1", "whatever")
        yield one


def aws_settings(aws):
    return {"ca_bundle": str(aws.ca_file), "endpoints": {"imds": aws.endpoints["imds"]}}


@pytest.fixture
def place(aws, dockerd, real, keeper, tmp_path):
    made = Place(tmp_path, aws, dockerd, real, keeper)
    yield made
    shutil.rmtree(made.stores)


def renew(keeper):
    """Let what is held be forgotten, as a reboot would; the next login asks AWS anew."""
    shutil.rmtree(keeper.state / "credentials")


@pytest.mark.parametrize("via", ["file", "helper"])
def test_each_client_pulls_after_the_login_and_after_the_renewal_and_anonymously_elsewhere_at_all_times(place, via):
    keeper = place.keeper
    place.home.mkdir(mode=0o700)
    elsewhere = {name for name in place.clients() if "elsewhere" in name}
    ours = set(place.clients()) - elsewhere
    keeper.write_settings([HOST], [{"path": str(place.config), "via": via}], aws=aws_settings(place.aws))

    assert place.refused().keys() == ours

    for _ in range(2):
        done = keeper.run("login")
        assert done.returncode == 0, done.stdout + done.stderr
        password = place.aws.newest_password(REGION)
        place.real.set_password(password)
        assert place.refused() == {}
        secret = base64.b64encode(f"AWS:{password}".encode()).decode()
        assert (secret in place.config.read_text()) == (via == "file")
        renew(keeper)


# A store of docker's, by the protocol of its helpers: one file for each registry.
KEEP = """#!/bin/sh
umask 077
mkdir -p "$HOME/kept" && cd "$HOME/kept" || exit 1
case $1 in
    get) read -r server; cat "$server" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    store) input=$(cat); server=${input#*'"ServerURL":"'}; printf '%s\\n' "$input" >"${server%%'"'*}" ;;
    erase) read -r server; rm -f "$server" ;;
    list) echo '{}' ;;
esac
"""


@pytest.mark.parametrize("via", ["file", "helper", "docker-login"])
def test_a_job_logs_in_with_its_own_role_pushes_logs_out_and_then_ours_is_back_and_public_images_stay_public(
    aws, dockerd, real, via
):
    shared = Path(tempfile.mkdtemp(prefix="ecrlogind-state-", dir="/tmp"))
    shared.chmod(0o755)
    with person() as ci, installation() as program:
        keeper = Keeper(shared, aws, program)
        try:
            subprocess.run(["usermod", "--append", "--groups", "docker", ci.name], check=True)
            keeper.write_settings([HOST], [{"user": ci.name, "via": via}], aws=aws_settings(aws))
            programs = ci.home / ".local" / "bin"
            environment = {
                "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
                "ECRLOGIND_STATE": str(keeper.state),
            }

            def docker(*arguments, **more):
                done = ci.run("docker", *arguments, env=environment, **more)
                return done.returncode == 0, done.stdout + done.stderr

            ci.run("mkdir", "-p", programs)
            ci.run("tee", programs / "docker-credential-ecrlogind", input=HELPER.read_text())
            ci.run("tee", programs / "docker-credential-keep", input=KEEP)
            ci.run("sh", "-c", f"chmod 755 {programs}/*")
            docker("context", "create", "test", "--docker", f"host={dockerd.host}")
            docker("context", "use", "test")
            if via == "docker-login":
                config = ci.home / ".docker" / "config.json"
                ci.run("tee", config, input=json.dumps(json.loads(config.read_text()) | {"credsStore": "keep"}))

            with keeper.running():
                until(lambda: aws.passwords(REGION), "the first credential")
                real.set_password(aws.newest_password(REGION))
                until(lambda: keeper.run("login").returncode == 0, "the login")
                assert docker("pull", IMAGE)[0]
                assert docker("pull", f"{PUBLIC}/app:v1")[0]

                real.set_password("the job's", username="pusher")
                came, said = docker("login", "--username", "pusher", "--password-stdin", HOST, input="the job's")
                assert came, said
                docker("tag", IMAGE, f"{HOST}/app:{via}")
                came, said = docker("push", f"{HOST}/app:{via}")
                assert came, said
                came, said = docker("logout", HOST)
                assert came, said

                real.set_password(aws.newest_password(REGION))
                until(lambda: docker("pull", IMAGE)[0], "our login, put back")
                assert len(aws.passwords(REGION)) == 1

                keeper.stop()
                renew(keeper)
                keeper.start()
                until(lambda: len(aws.passwords(REGION)) == 2, "the renewal")
                real.set_password(aws.newest_password(REGION))
                until(lambda: docker("pull", IMAGE)[0], "the renewed login")
                came, said = docker("pull", f"{PUBLIC}/app:v1")
                assert came, said
        finally:
            keeper.end()
            shutil.rmtree(shared)


@contextmanager
def container(dockerd, *volumes):
    """Run a real container that mounts *volumes*; yield what runs a command in it."""
    options = [f"--volume={volume}" for volume in volumes]
    made = dockerd.docker("run", "--detach", "--network=none", *options, base(dockerd), "sleep", "infinity")
    name = made.stdout.strip()
    try:
        yield lambda *command: dockerd.docker("exec", name, *command, check=False)
    finally:
        dockerd.docker("rm", "--force", name)


def test_a_container_that_mounts_the_shared_directory_has_each_login_through_stop_start_and_upgrade(
    aws, dockerd, tmp_path
):
    with installation() as program:
        keeper = Keeper(tmp_path, aws, program)
        shared = keeper.state / "docker"
        keeper.write_settings([HOST], [{"path": str(shared / "config.json")}])
        # The container is started before the keeper ever was: as docker does, the directory is made for it.
        with container(dockerd, f"{shared}:/shared:ro") as inside:

            def password():
                """Return what a client in the container would log in with."""
                auths = json.loads(inside("cat", "/shared/config.json").stdout or '{"auths": {}}')["auths"]
                return base64.b64decode(auths[HOST]["auth"]).decode().partition(":")[2] if auths else None

            assert password() is None
            seen = set()
            for version in (None, None, "9.9.9"):  # a start; a stop and a start; a stop, an upgrade and a start
                if version is not None:
                    upgrade(program, version)
                    assert keeper.run("--version").stdout == f"ecrlogind {version}\n"
                with keeper.running():
                    until(lambda seen=seen: password() not in {None, *seen}, "the new login, in the container")
                    assert aws.accepts(HOST, password())
                    seen.add(password())
                    assert keeper.stop() == 0
                assert password() in seen
                renew(keeper)
            assert len(seen) == 3


def upgrade(program, version):
    """Put another *version* in place of the installation whose *program* this is."""
    [packages] = Path(program[0]).parents[1].glob("lib/python3*/site-packages")
    shutil.rmtree(packages / "ecrlogind")
    shutil.unpack_archive(wheel(version), packages, "zip")


def test_amazons_own_helper_serves_its_hosts_beside_ours_in_one_config(place, aws, tmp_path):
    """One config.json names both; each answers for the hosts that it is named for, and asks AWS by itself."""
    need(shutil.which("docker-credential-ecr-login"), "amazon-ecr-credential-helper")
    keeper = place.keeper
    place.home.mkdir(mode=0o700)
    place.config.parent.mkdir()
    place.config.write_text(json.dumps({"credHelpers": {SECOND: "ecr-login"}}))
    keeper.write_settings([HOST], [{"path": str(place.config), "via": "helper"}], aws=aws_settings(aws))
    theirs = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.endpoints["imds"], "SSL_CERT_FILE": str(aws.ca_file)}

    with (
        registry.running(tmp_path / "second", aws.authority, SECOND) as second,
        resolving(second.address, SECOND),
    ):
        second.set_password("whoever fills it")
        second.push("app:v1", "whoever fills it")
        assert keeper.run("login").returncode == 0
        assert json.loads(place.config.read_text()) == {"credHelpers": {SECOND: "ecr-login", HOST: "ecrlogind"}}
        place.real.set_password(aws.newest_password(REGION))

        # Asked once by hand it keeps what AWS gives, so the registry can be told before docker asks.
        came, said = place.run("sh", "-c", f"echo {SECOND} | docker-credential-ecr-login get", **theirs)
        assert came, said
        assert json.loads(said)["Secret"] == aws.newest_password(REGION)
        second.set_password(aws.newest_password(REGION))
        asked = len(aws.calls(action="GetAuthorizationToken"))
        assert asked == 2

        for image in (IMAGE, f"{SECOND}/app:v1"):
            came, said = place.run("docker", "pull", image, **theirs)
            assert came, said
        assert len(aws.calls(action="GetAuthorizationToken")) == asked
