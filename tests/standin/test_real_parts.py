"""The stand-in on AWS's real host names, and the real registry: what the system tests stand on."""

import os
import socket
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config

from tests.support import hosts, registry

pytestmark = pytest.mark.system

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


def test_the_apis_are_found_at_their_own_names_over_tls(aws):
    user = aws.user("111122223333")
    with hosts.on_real_names(aws, *hosts.api_names("eu-west-1"), HOST):
        for options in ({}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}):
            ecr = boto3.client(
                "ecr",
                region_name="eu-west-1",
                aws_access_key_id=user.access_key,
                aws_secret_access_key=user.secret_key,
                verify=str(aws.ca_file),
                config=Config(proxies={}, **options),
            )
            try:
                ecr.get_authorization_token()
            finally:
                ecr.close()

    assert [call.host for call in aws.calls(service="ecr")] == [
        "api.ecr.eu-west-1.amazonaws.com",
        "api.ecr-fips.eu-west-1.amazonaws.com",
        "ecr.eu-west-1.api.aws",
    ]


def test_lines_in_etc_hosts_go_with_their_test_and_those_of_killed_tests_with_the_next(tmp_path):
    before = [line for line in hosts.HOSTS.read_text().splitlines() if hosts.MARK not in line]
    script = (
        "import os, signal\nfrom tests.support.hosts import resolving\n"
        "with resolving('127.9.9.9', 'killed.stand-in.example'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert "killed.stand-in.example" in hosts.HOSTS.read_text()

    with hosts.resolving("127.9.9.8", "living.stand-in.example"):
        assert socket.gethostbyname("living.stand-in.example") == "127.9.9.8"
        assert "killed.stand-in.example" not in hosts.HOSTS.read_text()
    text = hosts.HOSTS.read_text()
    assert f"{hosts.MARK} {os.getpid()} " not in text
    assert [line for line in text.splitlines() if hosts.MARK not in line] == before


def test_a_real_registry_takes_the_newest_password_from_the_moment_it_is_set(aws, client, tmp_path):
    ecr = client("ecr")
    with registry.running(tmp_path / "registry", aws.authority, HOST, port=0) as real:
        ecr.get_authorization_token()
        first = aws.newest_password("eu-west-1")
        assert not real.accepts(first)
        real.set_password(first)
        assert real.accepts(first)
        assert real.push("base:latest", first).startswith("sha256:")

        ecr.get_authorization_token()
        second = aws.newest_password("eu-west-1")
        assert not real.accepts(second)
        real.set_password(second)
        assert real.accepts(second)
        assert not real.accepts(first)
