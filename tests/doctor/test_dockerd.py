"""What dockerd says of itself, as recorded: docker info --format '{{json .}}', of docker 28.2.2 and dockerd 20.10.24.

The way through a real dockerd's proxies and CAs is in `test_advice`.
"""

import json

import pytest

from ecrlogind.doctor.asking import _is_insecure
from ecrlogind.doctor.dockerd import ask_dockerd
from ecrlogind.doctor.evidence import Dockerd
from tests.doctor.conftest import HOST

# With HTTPS_PROXY=http://proxy.example:3128 and NO_PROXY=169.254.169.254 in docker.service, and in daemon.json
# {"insecure-registries": ["10.0.0.0/8", "registry.example:5000"]}.
RECORDED = {
    "ServerVersion": "20.10.24+dfsg1",
    "HttpProxy": "",
    "HttpsProxy": "http://proxy.example:3128",
    "NoProxy": "169.254.169.254",
    "RegistryConfig": {
        "IndexConfigs": {
            "docker.io": {"Mirrors": [], "Name": "docker.io", "Official": True, "Secure": True},
            "registry.example:5000": {
                "Mirrors": [],
                "Name": "registry.example:5000",
                "Official": False,
                "Secure": False,
            },
        },
        "InsecureRegistryCIDRs": ["10.0.0.0/8", "127.0.0.0/8"],
        "Mirrors": [],
    },
}
# Where nobody listens on the socket, docker prints what it knows of itself.
NOT_RUNNING = {
    "ServerVersion": "",
    "ServerErrors": ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."],
}


@pytest.fixture
def said(tmp_path):
    """Return what is made of a docker that prints this."""

    def asked(printed):
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\ncat <<'EOF'\n{printed}\nEOF\n")
        program.chmod(0o755)
        return ask_dockerd({"PATH": f"{tmp_path}:/usr/bin:/bin"})

    return asked


def test_proxies_and_what_is_insecure(said):
    assert said(json.dumps(RECORDED)) == Dockerd(
        {"http_proxy": "", "https_proxy": "http://proxy.example:3128", "no_proxy": "169.254.169.254"},
        ("10.0.0.0/8", "127.0.0.0/8", "registry.example:5000"),
    )


@pytest.mark.parametrize(
    "printed",
    ["", "[]", json.dumps(NOT_RUNNING), json.dumps(RECORDED | {"HttpsProxy": "http://xxxxx:xxxxx@proxy.example:3128"})],
    ids=["nothing", "something else", "no daemon", "a password that is kept back"],
)
def test_a_dockerd_whose_way_cannot_be_gone(said, printed):
    assert said(printed) is None


def test_no_docker(tmp_path):
    assert ask_dockerd({"PATH": str(tmp_path)}) is None


def test_a_certificate_that_is_not_looked_at():
    dockerd = Dockerd(insecure=("127.0.0.0/8", "10.0.0.0/8", "registry.example:5000"))

    assert _is_insecure("localhost", dockerd)
    assert _is_insecure("10.1.2.3", dockerd)
    assert _is_insecure("registry.example:5000", dockerd)
    assert not _is_insecure("192.0.2.1", dockerd)
    assert not _is_insecure("no-such-host.invalid", dockerd)
    assert not _is_insecure(HOST, Dockerd())
