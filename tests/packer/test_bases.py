"""Other ways to bake: from an index, on a base that lacks a fitting Python; and the next Debian."""

import shutil
import subprocess

import pytest

from standin import StandIn
from tests.support import baking
from tests.support.hosts import api_names
from tests.support.need import need

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("packer"), pytest.mark.timeout(600)]

IMDS = "169.254.169.254"
AWS = "127.0.0.10"
HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


def test_with_a_network_a_python_and_the_dependencies_are_fetched(dockerd, bare, kitchen, tmp_path):
    # As a base has it that came without: Debian's Python cannot make a venv then.
    without = [
        "run",
        "--name",
        "unfit",
        "--network=none",
        bare,
        "sh",
        "-c",
        "dpkg --purge python3-venv python3.11-venv",
    ]
    dockerd.docker(*without)
    dockerd.docker("commit", "unfit", "unfit")
    dockerd.docker("rm", "unfit")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    [ours] = baking.wheelhouse().glob("ecrlogind-*.whl")
    shutil.copy(ours, wheels)
    image, said = kitchen.bake(
        dockerd,
        "unfit",
        options=baking.with_network(),
        wheelhouse=wheels,
        package=f"/tmp/ecrlogind/wheelhouse/{ours.name}",
    )
    assert image
    assert "installed python3 and python3-venv" in said
    assert "no credential is in this image" in said


@pytest.mark.long
def test_debian_13_bakes_offline_and_logs_in_at_its_boot(dockerd, kitchen, machines, tmp_path):
    need(shutil.which("debootstrap"), "debootstrap")
    root = tmp_path / "root"
    packages = "systemd,systemd-sysv,dbus,ca-certificates,python3,python3-venv,iproute2,procps"
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", "trixie", root, mirror()]
    need(not subprocess.run(command, capture_output=True, check=False).returncode, "Debian 13 at the mirror")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    subprocess.run(["chroot", root, "useradd", "--create-home", "runner"], check=True)
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "--create", "--directory", root, "--file", tar, "."], check=True)
    dockerd.docker("import", tar, "trixie")
    image, said = kitchen.bake(dockerd, "trixie")
    assert "/usr/bin/python3.13" in said

    machine = machines.make(source=image, hosts=dict.fromkeys([*api_names("eu-west-1"), HOST], AWS))
    with StandIn(tmp_path / "aws") as aws:
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.write("/etc/ecrlogind/config.d/90-test.toml", '[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n')
        machine.boot()
        machine.give_address(f"{IMDS}/32")
        machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
        machine.wait_for("systemctl is-active ecrlogind", deadline=60)
        assert machine.output("systemctl --version").startswith("systemd 257")
        assert HOST in machine.read("/home/runner/.docker/config.json")


def mirror():
    """Return the first Debian mirror that this host's apt knows."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in told.stdout.splitlines() if line.startswith("http") and "security" not in line]
    need(found, "a Debian mirror in apt's sources")
    return found[0]
