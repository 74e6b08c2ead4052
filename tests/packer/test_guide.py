"""docs/guides/packer.md to the letter: its blocks in a template of somebody's own, and what it makes of a host.

Its commands are typed too: `make wheelhouse` and the docker build by tests/support/baking.py, for all of these tests.
The host boots with the real cloud-init, which finds its user data where a cloud would have put it.
"""

import json
import shlex
import shutil
import sys

import pytest

from standin import StandIn
from tests.guides.reading import blocks, commands
from tests.support import baking
from tests.support.baking import GUIDE, PACKER, Kitchen
from tests.support.hosts import api_names
from tests.support.machine import machines_of_module

__all__ = ["machines_of_module"]

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("packer"), pytest.mark.timeout(400)]

IMDS = "169.254.169.254"
AWS = "127.0.0.10"
HOST, CENTRAL = (f"{account}.dkr.ecr.eu-west-1.amazonaws.com" for account in ("111122223333", "210987654321"))
NAMES = dict.fromkeys([*api_names("eu-west-1"), HOST, CENTRAL], AWS)

# The commands that no test types, with the reason.
NOT_TYPED = {"packer init packer/": "Packer 1.6.6 has its plugins built in"}

MINE = """
source "docker" "mine" {{
  image       = "{base}"
  pull        = false
  commit      = true
  changes     = ["CMD [\\"/sbin/init\\"]"]
  run_command = ["-d", "-i", "-t", "--network=none", "--", "{{{{ .Image }}}}", "/bin/sh"]
}}
build {{
  sources = ["source.docker.mine"]
  provisioner "shell" {{
    inline = ["useradd --create-home ec2-user"]
  }}
{blocks}
  post-processor "manifest" {{
    output = "manifest.json"
  }}
}}
"""

SEED = {
    "/etc/cloud/cloud.cfg.d/90_test.cfg": "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n",
    "/var/lib/cloud/seed/nocloud/meta-data": "instance-id: i-0123456789abcdef0\nlocal-hostname: runner\n",
    "/var/lib/cloud/seed/nocloud/user-data": (PACKER / "examples/user-data.sh").read_text(),
}
# As the github-aws-runners module has it: root's, started at each boot, and the runner is another user.
PER_BOOT = (
    "#!/bin/bash\nset -e\nsudo --set-home --user=ec2-user cp /home/ec2-user/.docker/config.json /home/ec2-user/seen\n"
)

# Take files out of the page cache.
COLD = r"""
sync
for root in "$@"; do find "$root" -type f -print0; done | /usr/bin/python3 -c '
import os, sys
for path in sys.stdin.buffer.read().split(b"\0")[:-1]:
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)
'
"""
# How many of them, and how many bytes, are there now.
CACHED = """
find {} -type f -print0 | xargs -0 fincore --raw --noheadings --bytes --output RES |
awk '$1 {{n++; b += $1}} END {{print n + 0, b + 0}}'
"""


def test_every_command_is_typed_or_has_a_reason_not_to_be(tmp_path):
    found = [command.line for command in commands(GUIDE.read_text()) if command.line not in NOT_TYPED]
    elsewhere = ["make wheelhouse", baking.typed("packer build -only='docker.*'").line]
    [ami] = [line for line in found if line not in elsewhere]

    # tests/packer/test_ami.py builds one; with these very words it is validated.
    kitchen = Kitchen.furnish(tmp_path / "packer")
    shutil.copytree(baking.wheelhouse(), tmp_path / "dist/wheelhouse")
    program, action, *arguments = shlex.split(ami)
    assert (program, action) == ("packer", "build")
    kitchen.type(shlex.join([program, "validate", *arguments]))


@pytest.fixture(scope="module")
def image(dockerd, bare, tmp_path_factory):
    """Return the image that a template of somebody's own made, with the guide's blocks in it as they stand."""
    place = tmp_path_factory.mktemp("guide")
    kitchen = Kitchen.furnish(place / "packer")
    (place / "ecrlogind").mkdir()
    (place / "ecrlogind/packer").symlink_to(PACKER)
    shutil.copytree(baking.wheelhouse(), place / "ecrlogind/dist/wheelhouse")
    [provisioners, *_] = [block.text for block in blocks(GUIDE.read_text()) if block.language == "hcl"]
    dockerd.docker("tag", bare, baking.BASE)
    (place / "mine.pkr.hcl").write_text(MINE.format(base=baking.BASE, blocks=provisioners))
    done = kitchen.type("packer build mine.pkr.hcl", environment={"DOCKER_HOST": dockerd.host})
    assert "verify: no credential is in this image" in done.stdout
    return baking.built(place / "manifest.json")


@pytest.fixture(scope="module")
def booted(machines_of_module, image, tmp_path_factory):
    """Yield the host, after its first boot to the end, its AWS, and when we were ready and cloud-final started."""
    machine = machines_of_module.make(source=image, hosts=NAMES)
    with StandIn(tmp_path_factory.mktemp("aws")) as aws:
        machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
        machine.write("/etc/ecrlogind/config.d/90-test.toml", '[aws]\nca_bundle = "/etc/ecrlogind/ca.pem"\n')
        for path, text in SEED.items():
            machine.write(path, text)
        machine.write("/var/lib/cloud/scripts/per-boot/start-runner.sh", PER_BOOT, mode=0o755)
        machine.boot()
        machine.run("rm /etc/cloud/cloud-init.disabled")
        machine.reboot()
        machine.wait_for("systemctl is-active ecrlogind | grep -x activating", deadline=60)
        machine.give_address(f"{IMDS}/32")
        machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
        machine.wait_for("systemctl is-active cloud-final", deadline=100)
        yield (
            machine,
            aws,
            [
                int(machine.output(f"systemctl show -P {moment} {unit}"))
                for unit, moment in (
                    ("ecrlogind", "ActiveEnterTimestampMonotonic"),
                    ("cloud-final", "InactiveExitTimestampMonotonic"),
                )
            ],
        )


@pytest.fixture
def host(booted):
    return booted[0]


def test_with_the_real_cloud_init_the_logins_are_there_before_its_scripts(booted):
    host, _, (ready, started) = booted
    assert "cycle" not in host.journal("--boot")
    stages = json.loads(host.read("/run/cloud-init/status.json"))["v1"]
    assert stages["datasource"].startswith("DataSourceNoCloud")
    assert stages["modules-final"]["errors"] == [], host.read("/var/log/cloud-init-output.log") + str(stages)
    # What the script of each boot saw is the login of the baked settings.
    assert f'"{HOST}"' in host.read("/home/ec2-user/seen")
    assert 0 < ready <= started


def test_user_data_adds_registries_and_waits_for_their_logins(host):
    assert f'"{CENTRAL}"' in host.read("/home/ec2-user/.docker/config.json")
    said = host.read("/var/log/cloud-init-output.log")
    assert "Traceback" not in said
    assert host.output("ecrlogind status --json | grep -c in_place") == "4"


def test_a_cold_start_reads_little(host, capfd):
    places = ("/opt/ecrlogind", "/usr/lib/python3.11")
    host.run("systemctl stop ecrlogind ecrlogind-issuer.socket")
    host.run(["sh", "-c", COLD, "sh", *places])
    before = [int(host.output(CACHED.format(place)).split()[1]) for place in places]
    host.run("rm -r /run/ecrlogind/credentials; systemctl start ecrlogind")

    after = [[int(number) for number in host.output(CACHED.format(place)).split()] for place in places]

    size = int(host.output("du -sk /opt/ecrlogind").split()[0])
    with capfd.disabled():
        for place, (files, read), rest in zip(places, after, before, strict=True):
            sys.stderr.write(f"{place}: {files} files, {read >> 10} KiB read until READY ({rest >> 10} KiB not cold)\n")
        sys.stderr.write(f"/opt/ecrlogind takes {size} KiB\n")
    [(files, read), _] = after
    assert 50 < files < 600
    assert before[0] < read < 12 << 20
    assert size < 20 << 10


def test_an_upgrade_of_a_host_that_runs_asks_aws_for_nothing_and_keeps_what_is_mounted(booted):
    host, aws, _ = booted
    host.run("mkdir -p /run/ecrlogind/docker /mnt/held; mount --bind /run/ecrlogind/docker /mnt/held")
    host.write("/root/provision.sh", (PACKER / "provision.sh").read_text())
    host.dockerd.docker("cp", f"{baking.wheelhouse('9.9.9')}/.", f"{host.name}:/root/newer")
    asked, pid = len(aws.calls(service="ecr")), host.output("systemctl show -P MainPID ecrlogind")
    # In the words of the guide's template, but for a host that is no image any more.
    upgrade = "LIVE=yes WHEELHOUSE=/root/newer RUNNER_USERS='ec2-user root' bash /root/provision.sh"

    said = host.output(upgrade)

    assert "ecrlogind 9.9.9" in said
    host.wait_for(f"test $(systemctl show -P MainPID ecrlogind) != {pid} && systemctl is-active ecrlogind", deadline=60)
    assert host.output("ecrlogind --version; ecrlogind status --json | grep -c in_place") == "ecrlogind 9.9.9\n4"
    assert len(aws.calls(service="ecr")) == asked
    assert host.output("stat -c %i /run/ecrlogind/docker") == host.output("stat -c %i /mnt/held")
    assert host.output(upgrade) == "provision: nothing to do"
    # The issuer is reached, and is the newer one's.
    host.run("rm -r /run/ecrlogind/credentials; systemctl restart ecrlogind")
    assert len(aws.calls(service="ecr")) == asked + 1
