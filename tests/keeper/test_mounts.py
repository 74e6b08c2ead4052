"""What is mounted over the way to a file."""

import os
import subprocess

import pytest

from ecrlogind.keeper.mounts import Mounts
from tests.support.need import need

ROOT = "21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw"
HOME = "40 21 0:35 / {} rw,relatime - nfs4 server:/home rw"


@pytest.fixture
def listed(tmp_path):
    """Return the file that plays the kernel's list."""
    path = tmp_path / "mountinfo"
    path.write_text(f"{ROOT}\n")
    return path


def mount(listed, place):
    listed.write_text(f"{ROOT}\n{HOME.format(place)}\n")


@pytest.mark.parametrize("place", ["/home", "/home/ci", "/home/ci/.docker"])
def test_a_mount_over_the_way_is_told_once_and_its_end_too(listed, place):
    mounts = Mounts(listed)
    mounts.follow("/home/ci/.docker/config.json")
    assert mounts.moved() == []

    mount(listed, place)
    assert mounts.moved() == ["/home/ci/.docker/config.json"]
    assert mounts.moved() == []

    listed.write_text(f"{ROOT}\n")
    assert mounts.moved() == ["/home/ci/.docker/config.json"]


@pytest.mark.parametrize("place", ["/home/c", "/home/ci2", "/var/lib/docker/overlay2/x/merged", "/home/ci/.docker/x"])
def test_a_mount_elsewhere_is_nobody_s_business(listed, place):
    mounts = Mounts(listed)
    mounts.follow("/home/ci/.docker/config.json")

    mount(listed, place)

    assert mounts.moved() == []


def test_a_second_mount_at_the_same_place_is_another(listed):
    mount(listed, "/home/ci")
    mounts = Mounts(listed)
    mounts.follow("/home/ci/.docker/config.json")

    listed.write_text(f"{listed.read_text()}{HOME.format('/home/ci').replace('40', '41')}\n")

    assert mounts.moved() == ["/home/ci/.docker/config.json"]


@pytest.mark.system
def test_the_kernel_s_own_list_is_read_whatever_the_place_is_called(tmp_path):
    need(os.geteuid() == 0, "root, to mount")
    home = tmp_path / "a home\\of \n somebody's"
    home.mkdir()
    mounts = Mounts()
    mounts.follow(str(home / ".docker" / "config.json"))

    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", home], check=True)
    try:
        assert mounts.moved() == [str(home / ".docker" / "config.json")]
    finally:
        subprocess.run(["umount", "--lazy", home], check=True)
