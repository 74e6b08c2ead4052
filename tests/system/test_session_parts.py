import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.dockerd import running

pytestmark = pytest.mark.system


def test_workers_share_one_dockerd_which_leaves_nothing_behind_when_the_last_one_goes(tmp_path):
    hosts = Path("/etc/hosts").read_bytes()
    with running(tmp_path) as first:
        with running(tmp_path) as second:
            assert second == first
        first.resolve("registry.example", "127.0.0.9")
        first.trust("registry.example", "a certificate")
        assert first.docker("info", "--format", "{{.Driver}}").stdout.strip()
        assert Path("/etc/hosts").read_bytes() == hosts
        assert not Path("/etc/docker/certs.d/registry.example").exists()

    deadline = time.monotonic() + 20
    while first.home.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert str(first.home) not in subprocess.run(["ps", "-ef"], capture_output=True, text=True, check=True).stdout
    assert not [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names if name == first.home.name]
