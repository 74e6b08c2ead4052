"""Unmodified clients with `credHelpers` naming our helper, against a real registry."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest

from ecrlogind.core.wire import Refusal
from tests.support import registry
from tests.support.dockerd import dockerd
from tests.support.hosts import resolving
from tests.support.need import need

__all__ = ["dockerd"]
pytestmark = pytest.mark.system

HOST = "777788889999.dkr.ecr.eu-central-1.amazonaws.com"
IMAGE = f"{HOST}/app:v1"


class Client:
    """One client on a host, and how it pulls."""

    def __init__(self, host, authority, docker_host):
        self.host = host
        self.docker_host = docker_host
        self.config = host.home / ".docker/config.json"
        self.config.parent.mkdir()
        self.config.write_text(json.dumps({"credHelpers": {HOST: "ecrlogind"}}))
        self.certificates = host.directory / "certs"
        self.certificates.mkdir()
        shutil.copy(authority.file, self.certificates / "ca.crt")
        # Where containers/image looks for what is Docker's, and in which order names are completed, is HOME's.
        self.environment = {
            "PATH": f"/run/bin:{os.environ['PATH']}",
            "HOME": str(host.home),
            "DOCKER_HOST": docker_host,
            "DOCKER_CONFIG": str(self.config.parent),
        }

    def run(self, *command, stdin=None):
        done = subprocess.run(
            self.host.inside(*command),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode, done.stdout + done.stderr

    def docker(self):
        return self.run("docker", "pull", IMAGE)  # asks for the manifest, with the login, even if it has the image

    def skopeo(self):
        return self.run("skopeo", "inspect", "--cert-dir", self.certificates, f"docker://{IMAGE}")

    def podman(self):
        need(shutil.which("podman"), "podman")
        # Its place at run time may be no longer than 50 characters: /run is the host's own here.
        store = ["--root", self.host.directory / "podman", "--runroot", "/run/podman", "--storage-driver", "vfs"]
        return self.run("podman", *store, "pull", "--cert-dir", self.certificates, IMAGE)

    def docker_py(self):
        need(importlib.util.find_spec("docker"), "docker, the Python package")
        script = "import docker, sys; docker.from_env(timeout=60).images.pull(sys.argv[1])"
        return self.run(sys.executable, "-c", script, IMAGE)


@pytest.fixture
def real(tmp_path, aws):
    with registry.running(tmp_path / "registry", aws.authority, HOST) as one, resolving(one.address, HOST):
        one.set_password("first")
        one.push("app:v1", "first")
        yield one


@pytest.fixture
def client(plain_host, aws, dockerd):
    return Client(plain_host, aws.authority, dockerd.host)


@pytest.mark.parametrize("how", [Client.docker, Client.skopeo, Client.podman, Client.docker_py])
def test_a_pull_is_refused_before_works_after_and_after_a_renewal(client, real, how):
    code, said = how(client)
    assert code != 0, said

    client.host.hold(HOST, password="first")
    code, said = how(client)
    assert code == 0, said

    real.set_password("second")
    code, said = how(client)
    assert code != 0, said
    client.host.hold(HOST, password="second")
    code, said = how(client)
    assert code == 0, said
    assert "second" not in client.config.read_text()


@pytest.mark.parametrize("how", [Client.skopeo, Client.podman, Client.docker_py])
def test_clients_show_why_there_is_no_login(client, real, how):
    client.host.refuse(HOST, Refusal("access_denied", "ci may not ask", "Allow it."))

    code, said = how(client)

    assert code != 0
    assert "access_denied: ci may not ask" in said


def test_docker_run_shows_why_there_is_no_login(client, real):
    client.host.refuse(HOST, Refusal("access_denied", "ci may not ask", "Allow it."))

    code, said = client.run("docker", "create", "--pull", "always", IMAGE, "/content")

    assert code != 0
    assert "access_denied: ci may not ask" in said


def test_a_job_logs_in_pushes_and_logs_out_with_its_own_login_and_then_ours_is_back(client, real):
    client.host.hold(HOST, password="first")
    assert client.docker()[0] == 0
    real.set_password("the job's", username="pusher")
    assert client.docker()[0] != 0

    code, said = client.run("docker", "login", "--username", "pusher", "--password-stdin", HOST, stdin="the job's")
    assert code == 0, said
    client.run("docker", "tag", IMAGE, f"{HOST}/app:pushed")
    code, said = client.run("docker", "push", f"{HOST}/app:pushed")
    assert code == 0, said
    code, said = client.run("docker", "logout", HOST)
    assert code == 0, said
    assert "WARNING" not in said

    assert client.docker()[0] != 0
    real.set_password("first")
    code, said = client.docker()
    assert code == 0, said
    assert "first" not in client.config.read_text()


def test_docker_takes_an_export_as_the_config_of_a_job(client, real):
    client.host.hold(HOST, password="first")
    job = client.host.directory / "job"
    assert client.host.run("ecrlogind-export", job).returncode == 0
    client.config.unlink()
    assert client.docker()[0] != 0

    client.environment["DOCKER_CONFIG"] = str(job)

    code, said = client.docker()
    assert code == 0, said


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_an_anonymous_pull_from_another_registry_still_works(client, tmp_path, aws, key):
    public = "registry.ecrlogind-test.example"
    client.config.write_text(json.dumps({key: {HOST: "ecrlogind"} if key == "credHelpers" else "ecrlogind"}))
    with (
        registry.running(tmp_path / "public", aws.authority, public, anonymous=True) as one,
        resolving(one.address, public),
    ):
        one.push("app:v1", "whatever")
        for password in ("first", "renewed"):
            client.host.hold(HOST, password=password)
            for pull in (
                ["docker", "pull", f"{public}/app:v1"],
                ["skopeo", "inspect", "--cert-dir", client.certificates, f"docker://{public}/app:v1"],
            ):
                code, said = client.run(*pull)
                assert code == 0, said
