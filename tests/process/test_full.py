"""A state directory that takes nothing more: the logins go on, and the log says what suffers."""

import os
import subprocess
from contextlib import contextmanager, suppress

import pytest

from tests.support.keeper import until
from tests.support.need import need

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"

pytestmark = pytest.mark.system


@contextmanager
def full(directory):
    """Let *directory* be a file system without a free byte."""
    need(os.geteuid() == 0, "root, to mount")
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", directory], check=True)
    try:
        # Nothing is filled unless the mount is really there.
        assert os.path.ismount(directory)
        with (directory / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            for _ in range(64):
                file.write(bytes(4096))
        assert os.statvfs(directory).f_bfree == 0
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_logins_are_delivered_renewed_and_healed_while_the_state_directory_is_full(keeper, aws):
    aws.world.lifetime = 6
    keeper.write_settings(["self"])
    with full(keeper.state):
        with keeper.running():
            first = until(lambda: keeper.password(OWN), "the login")
            until(lambda: keeper.password(OWN) not in (None, first), "the renewal")
            keeper.destination().write_text("{}")
            until(lambda: keeper.password(OWN), "the login, put back")
            assert "state.unwritten" in keeper.log
            assert "No space left" in keeper.log
            (keeper.state / "ballast").unlink()
            until(lambda: (keeper.document or {}).get("verdict") == "healthy", "the status, once there is room")
            assert keeper.stop() == 0
