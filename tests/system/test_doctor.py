"""The doctor on a host that booted with us installed: nothing is wrong there, until something is."""

import json

import pytest

from standin import StandIn
from tests.support.hosts import api_names

pytestmark = pytest.mark.system

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
IMDS = "169.254.169.254"
AWS = "127.0.0.10"
NAMES = dict.fromkeys([*api_names("eu-west-1", "us-east-1"), HOST], AWS)
SETTINGS = """
registries = ["self"]
destinations = [{ user = "root" }, { user = "ci" }]
[aws]
ca_bundle = "/etc/ecrlogind/ca.pem"
"""
DROP_IN = "/etc/systemd/system/ecrlogind.service.d/10-local.conf"


@pytest.fixture
def aws(tmp_path):
    with StandIn(tmp_path) as aws:
        yield aws


@pytest.fixture
def host(machines, aws):
    """Yield a host that has booted and is logged in."""
    aws.world.add_image("team/app:v1")
    machine = machines.make(hosts=NAMES)
    machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
    machine.write("/etc/ecrlogind/config.toml", SETTINGS)
    machine.boot()
    machine.give_address(f"{IMDS}/32")
    machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
    machine.run("useradd --create-home ci; systemctl start ecrlogind")
    machine.wait_for("/opt/ecrlogind/bin/ecrlogind wait --timeout 20s")
    return machine


def codes(host, *arguments, user="root"):
    command = " ".join(["/opt/ecrlogind/bin/ecrlogind doctor --json", *arguments])
    found = json.loads(host.output(command, check=False, user=user))
    return [finding["code"] for case in found["cases"] for finding in case["findings"]]


def test_a_healthy_booted_host_has_no_findings_until_somebody_breaks_the_unit(host):
    image = f"{HOST}/team/app:v1"
    for user in ("root", "ci"):
        assert codes(host, user=user) == []
        assert codes(host, image, user=user) == []
    assert codes(host, "--user", "ci", image) == []

    host.write(DROP_IN, "[Service]\nProtectHome=yes\n")
    host.run("systemctl daemon-reload; rm -f /root/.docker/config.json; systemctl restart ecrlogind --no-block")
    assert "sandbox_breaks" in codes(host)

    # As advised: take that line out.
    host.run(f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart ecrlogind")
    host.wait_for("/opt/ecrlogind/bin/ecrlogind wait --timeout 20s")
    assert codes(host) == []


def test_after_a_stop_it_says_so_with_the_command_that_helps(host):
    host.run("systemctl stop ecrlogind")

    assert codes(host, user="ci") == ["not_running"]

    host.run("systemctl enable --now ecrlogind")
    assert codes(host, user="ci") == []
