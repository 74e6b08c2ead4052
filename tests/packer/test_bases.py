"""Other ways to bake: from an index, on a base that lacks a fitting Python; and the next Debian."""

import os
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
@pytest.mark.parametrize(("suite", "python", "systemd"), [("trixie", "3.13", "257"), ("noble", "3.12", "255")])
def test_another_distribution_bakes_offline_and_logs_in_at_its_boot(  # noqa: PLR0917  three of them are one case
    dockerd, kitchen, machines, tmp_path, suite, python, systemd
):
    strap(suite, tmp_path / "root")
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "--create", "--directory", tmp_path / "root", "--file", tar, "."], check=True)
    dockerd.docker("import", tar, suite)
    image, said = kitchen.bake(dockerd, suite)
    assert f"/usr/bin/python{python}" in said

    machine = machines.make(source=image, hosts=dict.fromkeys([*api_names("eu-west-1"), HOST], AWS))
    with StandIn(tmp_path / "aws") as aws:
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.write("/etc/ecrlogind/config.d/90-test.toml", '[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n')
        machine.boot()
        machine.give_address(f"{IMDS}/32")
        machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
        machine.wait_for("systemctl is-active ecrlogind", deadline=60)
        assert machine.output("systemctl --version").startswith(f"systemd {systemd}")
        assert HOST in machine.read("/home/runner/.docker/config.json")
        assert_notify_reload_waits_and_refuses(machine)


def assert_notify_reload_waits_and_refuses(machine):
    """From systemd 253 on there is a drop-in by which a reload ends when the new settings are in force."""
    drop_in = "/etc/systemd/system/ecrlogind.service.d/notify-reload.conf"
    machine.run(f"install -D -m 0644 /opt/ecrlogind/share/ecrlogind/systemd/notify-reload.conf {drop_in}")
    machine.run("systemctl daemon-reload && systemctl restart ecrlogind")
    assert machine.settings_of("ecrlogind", "Type") == {"Type": "notify-reload"}
    more = "/etc/ecrlogind/config.d/95-more.toml"
    machine.write(more, 'destinations = [{ path = "/run/ecrlogind/docker/config.json" }]\n')
    machine.run("systemctl reload ecrlogind")
    machine.wait_for("grep -q auths /run/ecrlogind/docker/config.json")
    machine.write(more, 'typo = "x"\n')
    assert machine.run("systemctl reload ecrlogind", check=False).returncode
    assert machine.output("systemctl is-active ecrlogind") == "active"


def strap(suite, root):
    """Make a root file system of *suite* with what an image of a cloud has of it that matters here."""
    need(shutil.which("debootstrap"), "debootstrap")
    packages = "systemd,systemd-sysv,dbus,ca-certificates,python3,python3-venv,iproute2,procps"
    # A Debian has no key to check Ubuntu's by. Without a mirror debootstrap takes Ubuntu's own.
    of_ubuntu = suite == "noble"
    options = ["--no-check-gpg", "--components=main,universe"] if of_ubuntu else []
    # debootstrap knows no suite that is newer than itself; they are all made alike.
    scripts = root.with_name("debootstrap")
    shutil.copytree("/usr/share/debootstrap", scripts, symlinks=True)
    script = scripts / "scripts" / suite
    if not script.exists():
        script.symlink_to("gutsy")
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={packages}",
        *options,
        suite,
        root,
        *([] if of_ubuntu else [mirror()]),
    ]
    done = subprocess.run(
        command, env={**os.environ, "DEBOOTSTRAP_DIR": str(scripts)}, capture_output=True, text=True, check=False
    )
    need(not done.returncode, f"{suite} at its mirror: {done.stdout[-300:]}")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    subprocess.run(["chroot", root, "useradd", "--create-home", "runner"], check=True)


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
