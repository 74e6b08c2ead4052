import base64
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from standin.tls import Authority
from tests.support import registry
from tests.support.dockerd import running
from tests.support.hosts import resolving

pytestmark = pytest.mark.system


def test_workers_share_one_dockerd_which_leaves_nothing_behind_when_the_last_one_goes(tmp_path):
    with running(tmp_path) as first:
        with running(tmp_path) as second:
            assert second == first
        assert first.docker("info", "--format", "{{.Driver}}").stdout.strip()
        assert not Path("/etc/docker/key.json").exists()

    deadline = time.monotonic() + 20
    while first.home.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert str(first.home) not in subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
    assert not [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names if name == first.home.name]


def test_dockerd_pulls_from_a_registry_on_its_real_name_with_the_right_password_alone(dockerd, tmp_path):
    host = "999988887777.dkr.ecr.eu-west-3.amazonaws.com"
    authority = Authority(tmp_path / "ca")
    login = {"auths": {host: {"auth": base64.b64encode(b"AWS:a password").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(login))
    pull = ["--config", tmp_path, "pull", f"{host}/app:v1"]
    with (
        registry.running(tmp_path / "registry", authority, host) as real,
        resolving(real.address, host),
    ):
        real.set_password("a password")
        real.push("app:v1", "a password")
        dockerd.docker(*pull)
        real.set_password("another password")
        dockerd.docker("image", "rm", f"{host}/app:v1")
        assert dockerd.docker(*pull, check=False).stderr.endswith("authentication required\n")


def test_a_machine_boots_systemd_with_our_files_installed_and_keeps_its_disk_over_a_reboot(machines):
    machine = machines.make(hosts={"aws.example": "127.0.0.7"})
    machine.write("/etc/planted", "before the boot\n", mode=0o640, gid=4)
    machine.boot()

    assert machine.output("systemctl is-system-running --wait") == "running"
    assert machine.output("cat /etc/planted; stat -c '%a %u %g' /etc/planted; stat -c %a /root") == (
        "before the boot\n640 0 4\n700"
    )
    assert machine.output("getent hosts aws.example").split() == ["127.0.0.7", "aws.example"]
    assert machine.run("test -x /opt/ecrlogind/bin/ecrlogind && systemctl cat ecrlogind && id ecrlogind")

    machine.run("touch /run/gone")
    machine.reboot()
    assert machine.output("cat /etc/planted; ls /run/gone 2>&1 || true").startswith(
        "before the boot\nls: cannot access"
    )


def test_what_a_test_serves_inside_a_machine_is_in_that_network_alone(machines):
    machine = machines.make()
    machine.boot()
    with machine.inside(lambda: socket.create_server(("127.0.0.7", 0))) as server:
        there = server.getsockname()
        connect = f"import socket; socket.create_connection({there}).sendall(b'hello')"
        machine.run(["python3", "-c", connect])
        with server.accept()[0] as connection:
            assert connection.recv(5) == b"hello"

        with pytest.raises(ConnectionRefusedError), socket.create_connection(there):
            pass
