"""The host that the guides are followed on: booted, with us and real clients installed, and the runners' users."""

import os
import shlex
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from standin import StandIn
from tests.guides.front import PUBLIC, Front
from tests.support import registry
from tests.support.dockerd import dockerd
from tests.support.hosts import api_names, loopback_address, resolving
from tests.support.machine import machines_of_module
from tests.support.need import need

__all__ = ["dockerd", "machines_of_module"]

# The accounts that the guides speak of: the instance's own, and another that keeps the images of all.
OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
CENTRAL = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
HOSTS = (OWN, CENTRAL, PUBLIC)
IMAGES = ("team/app:1.4", "team/tools:3", "base:latest", "docker/library/busybox:1.36", "docker-hub/library/nginx:1.27")
_PUSHED = "team/app:pushed-by-hand"

_IMDS, _AWS, _REGISTRIES = "169.254.169.254", "127.0.0.10", "127.0.0.11"
_NAMES = dict.fromkeys(api_names("eu-west-1", "us-east-1"), _AWS) | dict.fromkeys(HOSTS, _REGISTRIES)
_PROGRAMS = ("ecrlogind", "docker-credential-ecrlogind", "ecrlogind-credential-provider", "ecrlogind-export")
# What the packages of runners, EC2's images and people make.
_USERS = {
    "gitlab-runner": "/home/gitlab-runner",
    "buildkite-agent": "/var/lib/buildkite-agent",
    "ec2-user": "/home/ec2-user",
    "deploy": "/home/deploy",
    "ssm-user": "/home/ssm-user",
}
_UNIT = "[Service]\nUser={user}\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
_UNITS = {
    "gitlab-runner": "root",
    "buildkite-agent": "buildkite-agent",
    "kubelet": "root",
    "actions.runner.my-org-my-repo.host1": "ec2-user",
}
_FRESH = f"""
systemctl stop ecrlogind {" ".join(_UNITS)}; systemctl reset-failed ecrlogind 2>/dev/null
systemctl disable --quiet ecrlogind
rm -rf /etc/ecrlogind /etc/systemd/system/*.service.d /etc/cron.d/* /etc/rc.local /etc/gitlab-runner /etc/kubernetes
rm -rf /root/.docker /home/*/.docker /var/lib/*/.docker /var/log/onboot* /run/containers
find /run/ecrlogind -mindepth 1 -delete 2>/dev/null
mkdir -p -m 0755 /etc/ecrlogind
systemctl daemon-reload
"""


class Site:
    """The host, its AWS and its registries."""

    def __init__(self, machine, aws, front):
        self.machine = machine
        self.aws = aws
        self.front = front

    @contextmanager
    def reached(self, *hosts):
        """Let dockerd reach these registries: it has this host's network, and the host's names."""
        address = loopback_address()
        self.front.listen(address)
        with resolving(address, *hosts):
            yield

    def renew(self):
        """Make the host as if ecrlogind had just been installed, and nothing been pulled."""
        self.machine.run(_FRESH, check=False)
        images = [f"{host}/{image}" for host in HOSTS for image in (*IMAGES, _PUSHED)]
        self.machine.dockerd.docker("image", "rm", "--force", *images, check=False)
        self.aws.lift_faults()
        self.front.pulls.clear()

    def install(self, path, example):
        """Put a file of examples/ where a guide says, with the rights that it has in the repository."""
        mode = "0755" if os.access(example, os.X_OK) else "0644"
        self.machine.run(["install", "-D", "-m", mode, "/dev/stdin", path], stdin=example.read_text())

    def type(self, command):
        """Type a command of a guide: as root, or as somebody who came by SSM."""
        user = {"#": "root", "$": "ssm-user"}[command.prompt]
        # A login shell: PATH and HOME are those of the user's, as at a prompt.
        return self.machine.run(["su", "-", user, "-c", command.line], check=False)


@pytest.fixture(scope="module")
def site_of_module(machines_of_module, dockerd, tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    need(shutil.which("skopeo"), "skopeo")
    with StandIn(directory / "aws") as aws, _clients(dockerd) as (mounts, install):
        aws.instance.account = OWN.partition(".")[0]
        with registry.running(directory / "registry", aws.authority, port=0, anonymous=True) as real:
            front = Front(aws, real)
            for image in IMAGES:
                real.push(image, "any")
            machine = machines_of_module.make(hosts=_NAMES, mounts=mounts)
            machine.write("/usr/local/share/ca-certificates/standin.crt", aws.ca_file.read_text())
            for unit, user in _UNITS.items():
                machine.write(f"/usr/lib/systemd/system/{unit}.service", _UNIT.format(user=user))
            machine.boot()
            machine.give_address(f"{_IMDS}/32")
            machine.inside(lambda: (aws.listen(_IMDS, 80, tls=False), aws.listen(_AWS), front.listen(_REGISTRIES)))
            machine.run("systemctl is-system-running --wait", check=False)
            machine.run(install)
            yield Site(machine, aws, front)
            front.close()


@pytest.fixture
def site(site_of_module):
    """Return the host as if ecrlogind had just been installed."""
    site_of_module.renew()
    return site_of_module


@contextmanager
def _clients(dockerd):
    """Yield what to mount in the machine, and the shell commands that put all in place there.

    So it has this host's docker, with its daemon, and its skopeo.
    """
    docker, skopeo = (Path(shutil.which(name)) for name in ("docker", "skopeo"))
    with tempfile.TemporaryDirectory(dir=dockerd.home) as door:
        # Another name for the socket, in a directory where there is nothing else of dockerd's to mount.
        os.chmod(door, 0o755)
        os.link(dockerd.home / "docker.sock", f"{door}/docker.sock")
        group = os.stat(f"{door}/docker.sock").st_gid
        mounts = {door: "/clients/daemon", str(docker.parent): "/clients/docker", str(skopeo.parent): "/clients/skopeo"}
        libraries = {str(Path(line.split()[2]).parent) for line in _libraries(skopeo)}
        mounts |= {place: f"/clients/lib{number}" for number, place in enumerate(sorted(libraries))}
        paths = ":".join(theirs for theirs in mounts.values() if theirs.startswith("/clients/lib"))
        wrapper = f'#!/bin/sh\nLD_LIBRARY_PATH={paths} exec /clients/skopeo/skopeo "$@"\n'
        lines = [
            "set -e",
            "update-ca-certificates >/dev/null",
            "ln -s /clients/docker/docker /usr/local/bin/docker",
            "ln -s /clients/daemon/docker.sock /run/docker.sock",
            f"printf %s {shlex.quote(wrapper)} >/usr/local/bin/skopeo; chmod 755 /usr/local/bin/skopeo",
            f"getent group {group} >/dev/null || groupadd --gid {group} docker",
            *(f"ln -s /opt/ecrlogind/bin/{name} /usr/local/bin/{name}" for name in _PROGRAMS),
            *(
                f"useradd --create-home --home-dir {home} --shell /bin/bash --groups {group} {user}"
                for user, home in _USERS.items()
            ),
            "systemctl start ecrlogind-issuer.socket",
        ]
        yield mounts, "\n".join(lines)


def _libraries(program):
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if "=> /" in line]
