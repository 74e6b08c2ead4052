"""A booted host with us and a dockerd of its own, where advice can be followed to the letter, and then an image pulled.

AWS, its registries and its layers are the stand-in.
"""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from standin import StandIn
from tests.support.hosts import api_names
from tests.support.keeper import PATIENCE
from tests.support.machine import Machine
from tests.support.need import need

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
FAR = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
HOSTS = (HOST, FAR, OTHER)
LAYERS = "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com"
IMAGE = f"{HOST}/team/app:v1"
CONFIG = "/etc/ecrlogind/config.toml"

IMDS = "169.254.169.254"
# Not of 127/8, where dockerd does not look at certificates.
AWS = "10.11.12.13"

_PROGRAMS = ("docker", "dockerd", "containerd", "runc")
_DOCKER = """
[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
# Go's own resolver would keep /etc/hosts for 5 s; the C library's reads it each time.
Environment=GODEBUG=netdns=cgo
ExecStart=/usr/local/bin/dockerd --bridge=none --iptables=false --ip6tables=false --storage-driver=vfs
"""
_SET_UP = """
set -e
groupadd docker
for user in ci deploy; do
    useradd --create-home --shell /bin/sh --groups docker $user
    echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/$user
done
ln -s /clients/bin/* /usr/local/bin/
for name in ecrlogind ecrlogind-export; do ln -s /opt/ecrlogind/bin/$name /usr/local/bin/; done
for library in /clients/lib/*; do
    ldconfig -p | grep -qF "$(basename "$library") " || ln -s "$library" /usr/local/lib/
done
ldconfig
mkdir -p /etc/systemd/system/ecrlogind.service.d
printf '[Unit]\\nStartLimitIntervalSec=0\\n' >/etc/systemd/system/ecrlogind.service.d/often.conf
cp /etc/hosts /etc/hosts.right
"""
_IMAGES = " ".join(f"{host}/team/app:v1" for host in HOSTS)
# What any of the tests may have changed.
_FRESH = f"""
systemctl stop ecrlogind
rm -rf /home/*/.docker /home/*/job /home/*/.ecr /root/.docker /etc/gitlab-runner
rm -f /usr/local/bin/docker-credential-*
cat /etc/hosts.right >/etc/hosts
cat >{CONFIG}
chmod 0644 {CONFIG}
for host in {" ".join(HOSTS)}; do install -D -m 0644 /etc/ecrlogind/ca.pem /etc/docker/certs.d/$host/ca.crt; done
if [ -e /etc/systemd/system/docker.service.d ]; then
    rm -r /etc/systemd/system/docker.service.d
    systemctl daemon-reload
    systemctl restart docker
fi
systemctl start docker
docker image rm --force {_IMAGES} >/dev/null 2>&1
chmod 0755 /run/ecrlogind
rm -rf /run/ecrlogind/credentials /run/ecrlogind/status.json /run/ecrlogind/answers
systemctl reset-failed
systemctl start ecrlogind
"""
# The same where that was cured and the settings are those that are wanted.
_TIDY = f"""
set -e
cmp -s - {CONFIG}
systemctl is-active --quiet ecrlogind docker
[ ! -e /etc/systemd/system/docker.service.d ]
cat /etc/hosts.right >/etc/hosts
rm -rf /home/deploy/.docker /home/*/job /home/*/.ecr /etc/gitlab-runner
rm -f /usr/local/bin/docker-credential-*
docker image rm --force {_IMAGES} >/dev/null 2>&1 || true
"""
# Typed by the user after the advice: as people do, it is tried again for a while.
_AFTER = """
attempts=0
until docker pull --quiet {image} >/dev/null 2>/tmp/said-{user}; do
    attempts=$((attempts + 1))
    [ $attempts -lt 100 ] || {{ cat /tmp/said-{user}; exit 1; }}
    sleep 0.2
done
until ecrlogind doctor {image} >/tmp/found-{user}; do
    attempts=$((attempts + 1))
    [ $attempts -lt 100 ] || {{ cat /tmp/found-{user}; exit 2; }}
    sleep 0.2
done
"""


@dataclass(slots=True)
class Ward:
    """The host and its AWS. *cured* says that the last test left it healthy, by the doctor's own advice."""

    machine: Machine
    aws: StandIn
    cured: bool = False

    def run(self, command, **options):
        """Run a command as root."""
        return self.machine.run(command, **options)

    def configure(self, registries=(HOST,), users=("root", "ci"), deadline="20s"):
        """Return the settings' text; *deadline* is how long the issuer waits for a network that does not come."""
        destinations = ", ".join(f'{{ user = "{user}" }}' for user in users)
        return (
            f"registries = {json.dumps(list(registries))}\ndestinations = [{destinations}]\n"
            f'[renew]\nfloor = "200ms"\n[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\ndeadline = "{deadline}"\n'
        )

    def renew(self, *arguments, **more):
        """Make the host healthy, with these settings, as after a boot: nothing was pulled, nothing is held."""
        self.aws.lift_faults()
        self.aws.world.layers = LAYERS
        self.aws.world.clock_skew = 0
        self.aws.instance.state = "ok"
        settings = self.configure(*arguments, **more)
        if not self.cured or self.machine.run(_TIDY, stdin=settings, check=False).returncode:
            self.machine.run(_FRESH, stdin=settings, check=False)
            self.machine.run("ecrlogind wait --timeout 30s")
        self.cured = False

    def restart(self, settings=None):
        """Start the keeper as after a boot; it need not become ready."""
        if settings is not None:
            self.machine.run(f"cat >{CONFIG}", stdin=settings)
        forget = "rm -rf /run/ecrlogind/credentials /run/ecrlogind/status.json /home/*/.docker /root/.docker"
        self.machine.run(f"systemctl stop ecrlogind; {forget}; systemctl start --no-block ecrlogind")
        self.machine.wait_for("test -s /run/ecrlogind/status.json", deadline=60)

    def doctor(self, *arguments, user="ci", shell=""):
        """Return what the doctor says to a user whose shell has done *shell* before."""
        done = self.type(f"{shell}\necrlogind doctor --json {' '.join(arguments)}", user)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return json.loads(done.stdout)

    def findings(self, *arguments, **options):
        return [finding for case in self.doctor(*arguments, **options)["cases"] for finding in case["findings"]]

    def pulls(self, image=IMAGE, user="ci", shell=""):
        """Whether the user gets the image."""
        return self.type(f"{shell}\ndocker pull --quiet {image}", user).returncode == 0

    def type(self, script, user):
        """Type a script at a user's prompt."""
        return self.machine.run(["su", "-", user, "-c", script], check=False)

    def is_cured_of(self, code, *, image=IMAGE, user="ci", shell="", pulls=False, asked=None, by_others=None):
        """See that doctor names *code* and nothing else, that its advice is enough, and that a pull fails before it.

        *shell* is what the user's shell did before. *pulls* is whether the image comes even so, None for that it may.
        *asked* is about what the doctor is asked in the place of *image*. *by_others* is done where the advice is for
        somebody who is not on this host; it is called with the finding.
        """
        if pulls is not None:
            assert self.pulls(image, user, shell) == pulls
            self.machine.run(["docker", "image", "rm", "--force", image], check=False)
        finding = self._named(code, *([image] if asked is None else asked), user=user, shell=shell)
        commands, image = self._follow(finding, image)
        if by_others is not None:
            image = by_others(finding) or image
        done = self.type("\n".join([shell, *commands, _AFTER.format(image=image, user=user)]), user)
        assert done.returncode == 0, f"{finding['to_do']}\n{done.stdout}{done.stderr}"
        self.cured = True
        return finding

    def _named(self, code, *arguments, **options):
        """Return the one finding, once there is one and it is *code*: the keeper may be on its way to the state."""
        ends_at = time.monotonic() + PATIENCE
        while True:
            found = self.findings(*arguments, **options)
            if [finding["code"] for finding in found] == [code]:
                return found[0]
            if time.monotonic() > ends_at:
                raise AssertionError(json.dumps(found, indent=2))

    def _follow(self, finding, image):
        """Do what an editor is for; return the commands that are to be typed, and the image that is to be pulled."""
        to_do, *_ = re.split(r"(?:; |, )or ", finding["to_do"])
        for what, where, path in re.findall(r"add (.+?) to (registries|destinations) in ([^ ,;]+)", to_do):
            lines = self.machine.read(path).splitlines()
            edited = [f"{line[:-1]}, {what}]" if line.startswith(f"{where} = [") else line for line in lines]
            assert edited != lines
            self._edit(path, "\n".join(edited) + "\n")
        for what, path in re.findall(r"take ([^ ]+) out of ([^ ,;]+)", to_do):
            self._edit(path, _without(what, self.machine.read(path)))
        if found := re.search(r"write the image as ([^ ,;]+)", to_do):
            image = found[1]
        commands = [command for command in re.findall(r"`([^`]+)`", to_do) if not command.startswith("aws ")]
        return commands, image

    def _edit(self, path, text):
        # As an editor does that keeps the file's owner and mode.
        self.machine.run(["sh", "-c", 'cat >"$1"', "sh", path], stdin=text)


def _without(what, text):
    """Return a file without the key or the variable *what*."""
    if not text.lstrip().startswith("{"):
        return "".join(line for line in text.splitlines(keepends=True) if what not in line)
    content = json.loads(text)
    section, _, key = what.partition(".")
    if key:
        del content[section][key]
    else:
        del content[section]
    return json.dumps(content)


@contextmanager
def ward(machines, directory):
    """Yield the host, healthy."""
    with StandIn(directory) as aws:
        aws.world.layers = LAYERS
        aws.world.add_image("team/app:v1")
        names = dict.fromkeys([*api_names("eu-west-1", "us-east-1"), *HOSTS, LAYERS], AWS)
        machine = machines.make(hosts=names, mounts=_mounts())
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.write("/etc/systemd/system/docker.service", _DOCKER)
        machine.boot()
        for address in (IMDS, AWS):
            machine.give_address(f"{address}/32")
        machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
        machine.run("systemctl is-system-running --wait", check=False)
        machine.run(_SET_UP)
        machine.run("systemctl start ecrlogind-issuer.socket")
        yield Ward(machine, aws)


def _mounts():
    """Return what to mount in the machine: this host's docker, file by file, and the libraries that it is linked to."""
    programs = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in _PROGRAMS}
    for name, path in programs.items():
        need(path, name)
    said = subprocess.run(["ldd", *programs.values()], capture_output=True, text=True, check=False).stdout
    libraries = {line.split()[2] for line in said.splitlines() if "=> /" in line}
    return {os.path.realpath(path): f"/clients/bin/{name}" for name, path in programs.items()} | {
        os.path.realpath(path): f"/clients/lib/{Path(path).name}" for path in libraries
    }
