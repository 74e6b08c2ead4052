"""The README, followed to the letter by somebody who has nothing but Debian, Python with its venv module, and make."""

import subprocess

import pytest

from standin import StandIn
from tests.guides.reading import blocks
from tests.support import baking
from tests.support.booted import AWS, CA, HOST, IMDS, NAMES
from tests.support.image import REPO
from tests.support.need import need

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]  # it waits for the network most of the time

README = (REPO / "README.md").read_text()
COMMANDS = [command for block in blocks(README) if block.language == "console" for command in block.commands]
HOME = "/home/runner/ecrlogind"
# What a test machine has besides: it is not to be what makes the README true.
BESIDES = "cloud-init sudo strace libfaketime nftables acl procps"
# `make test` as it stands takes ten minutes, and CI runs it. Here it is seen to run at all, by its word for a part.
PART = "tests/core/test_registry.py"
# What an install puts where man and shells look.
PLACED = ("man/man8/ecrlogind.8", "man/man5/ecrlogind.toml.5", "bash-completion/completions/ecrlogind")


@pytest.fixture(scope="module")
def container(dockerd):
    """Yield the name of a running container with this machine's network, and the checkout in a user's home."""
    name = "newcomer"
    tree = subprocess.run(["git", "archive", "HEAD"], cwd=REPO, capture_output=True, check=False)
    need(not tree.returncode, "a git checkout")
    variables = ["--env", f"TESTS={PART}"]
    options = [*baking.with_network(), *variables, "--name", name]
    dockerd.docker("run", "--detach", *options, baking.bare(dockerd), "sleep", "infinity")
    strip = f"SUDO_FORCE_REMOVE=yes apt-get purge --quiet=2 --yes --autoremove {BESIDES}"
    ready = f"{strip}; apt-get update; apt-get install --yes --no-install-recommends make"
    dockerd.docker("exec", name, "sh", "-ec", ready, timeout=200)
    unpack = ["exec", "--interactive", "--user", "runner", name, "sh", "-ec", f"mkdir {HOME}; tar x -C {HOME}"]
    dockerd.docker(*unpack, input=tree.stdout, text=None)
    yield name
    dockerd.docker("rm", "--force", name)


@pytest.fixture
def aws(tmp_path):
    with StandIn(tmp_path) as aws:
        yield aws


def test_every_line_does_what_it_says(dockerd, container, machines, aws):
    """The container has a network and no systemd, the machine has systemd and no network: it changes at the first #."""
    first = next(at for at, command in enumerate(COMMANDS) if command.prompt == "#")
    lines = [command.line.partition("#")[0].strip() for command in COMMANDS[:first]]
    assert lines == ["make demo", "make test", "make wheelhouse"]
    said = {line: in_container(dockerd, container, line) for line in lines}
    assert "ecrlogind: healthy; 6 of 6 logins in place" in said["make demo"]
    assert " passed" in said["make test"]
    dockerd.docker("commit", container, "newcomer")

    machine = machines.make(source="newcomer", hosts=NAMES)
    machine.write("/etc/ecrlogind/ca.pem", aws.ca_file.read_text())
    machine.write("/etc/ecrlogind/config.d/90-test.toml", CA)
    machine.boot()
    machine.give_address(f"{IMDS}/32")
    machine.inside(lambda: (aws.listen(IMDS, 80, tls=False), aws.listen(AWS)))
    *installing, removing = COMMANDS[first:]
    said = {command.line: on_machine(machine, command) for command in installing}
    assert "1 of 1 logins in place" in said["ecrlogind status"]
    for place in PLACED:
        machine.run(f"test -s /usr/local/share/{place}")
    assert removing.line == "packer/provision.sh --remove"
    on_machine(machine, removing)
    ours = [*(f"/usr/local/share/{place}" for place in PLACED), "/usr/local/bin/ecrlogind", "/run/ecrlogind"]
    for gone in ("/opt/ecrlogind", "/etc/ecrlogind", *ours):
        machine.run(f"! test -e {gone}")
    assert HOST not in machine.run("cat /root/.docker/config.json", check=False).stdout


def in_container(dockerd, container, line):
    run = ["exec", "--user", "runner", "--workdir", HOME, container, "sh", "-c", line]
    done = dockerd.docker(*run, check=False, timeout=500)
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def on_machine(machine, command):
    user = "root" if command.prompt == "#" else "runner"
    done = machine.run(f"cd {HOME} && {command.line}", check=False, user=user)
    assert done.returncode == 0, f"{command.line}\n{done.stdout}{done.stderr}"
    return done.stdout
