"""provision.sh by itself, in a Debian without any network: what it makes, that it makes it once, that it goes again."""

import subprocess
import sys

import pytest

from tests.support import baking
from tests.support.baking import PACKER

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("packer"), pytest.mark.timeout(300)]

# Every path with kind, mode, owner, size and time, but for what the kernel and this test put there.
LIST = (
    r"find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /dev \) -prune -o "
    r"-printf '%p %y %m %U:%G %s %T@\n' | sort"
)


READ_BY_MAN_AND_SHELLS = (
    "man/man8/ecrlogind.8",
    "man/man5/ecrlogind.toml.5",
    "bash-completion/completions/ecrlogind",
    "zsh/site-functions/_ecrlogind",
    "fish/vendor_completions.d/ecrlogind.fish",
)


class House:
    """A container that runs until it is thrown away."""

    def __init__(self, dockerd, image, name):
        self.dockerd, self.name = dockerd, name
        mounts = [f"--volume={PACKER}:/packer:ro", f"--volume={baking.wheelhouse()}:/wheelhouse:ro"]
        dockerd.docker("run", "--detach", "--network=none", "--name", name, *mounts, image, "sleep", "infinity")

    def run(self, command, *, check=True, **environment):
        options = [option for item in environment.items() for option in ("--env", "=".join(item))]
        done = self.dockerd.docker("exec", *options, self.name, "bash", "-c", command, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def provision(self, arguments="", *, check=True, **environment):
        environment = {"WHEELHOUSE": "/wheelhouse", "RUNNER_USERS": "runner root", **environment}
        return self.run(f"bash /packer/provision.sh {arguments}", check=check, **environment)

    def files(self):
        """Return what is where, as a set of lines."""
        return set(self.run(LIST).stdout.splitlines())


@pytest.fixture
def house(dockerd, bare, request):
    name = f"house-{abs(hash(request.node.name))}"
    yield House(dockerd, bare, name)
    dockerd.docker("rm", "--force", name)


def test_it_installs_once_upgrades_in_place_and_goes_without_a_trace(house):
    before = {line.split()[0] for line in house.files()}
    said = house.provision(RUNNER_UNITS="actions.runner.ORG- other.service").stdout
    assert "made /opt/ecrlogind of /usr/bin/python3" in said
    assert house.run("su runner -c 'ecrlogind --version'").stdout.startswith("ecrlogind ")
    assert house.run("su runner -c 'docker-credential-ecrlogind version'").stdout
    assert house.run("systemctl is-enabled ecrlogind.service ecrlogind-issuer.socket").stdout.split() == ["enabled"] * 2
    for unit in ("actions.runner.ORG-", "other"):
        house.run(f"grep -qx After=ecrlogind.service /etc/systemd/system/{unit}.service.d/ecrlogind.conf")
    assert not house.run("find /opt/ecrlogind /etc/ecrlogind -perm /022 ! -type l").stdout
    for each in READ_BY_MAN_AND_SHELLS:
        house.run(f"test -s /usr/local/share/{each}")
    assert house.run("ls -d /opt/ecrlogind/lib/python3*/site-packages/botocore/data/*/ | wc -l").stdout.strip() == "6"
    assert not house.run("ls -d /opt/ecrlogind/lib/python3*/site-packages/pip", check=False).stdout

    # Each file of bytecode says that it is never to be checked against its source.
    kinds = "{open(each, 'rb').read(8)[4:] for each in glob.glob('/opt/ecrlogind/lib/**/*.pyc', recursive=True)}"
    assert house.run(f'python3 -c "import glob; print({kinds})"').stdout == r"{b'\x01\x00\x00\x00'}" + "\n"

    installed = house.files()
    again = house.provision(RUNNER_UNITS="actions.runner.ORG- other.service").stdout
    assert again == "provision: nothing to do\n"
    assert house.files() == installed

    # An older version is what one was made of and has placed: other than now.
    house.run("echo old >/opt/ecrlogind/.made-of; touch /etc/old; echo /etc/old >>/usr/local/share/ecrlogind/placed")
    upgraded = house.provision(RUNNER_UNITS="other").stdout
    assert "made /opt/ecrlogind" in upgraded
    assert "removed /etc/old, which is of an earlier version" in upgraded
    assert "removed /etc/systemd/system/actions.runner.ORG-.service.d/ecrlogind.conf" in upgraded
    house.run("ecrlogind check && ! test -e /etc/old && ! test -e /opt/ecrlogind.old")

    house.provision("--remove")
    left = {line.split()[0] for line in house.files()} - before
    # useradd's and systemd-sysusers' own copies, and the catalog's database, which holds no entry of ours any more.
    assert left <= {f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow")} | {
        "/etc/.pwd.lock",
        "/var/lib/systemd/catalog/database",
    }
    assert not house.run("grep -l ecrlogind /etc/passwd /etc/group /etc/shadow /etc/gshadow", check=False).stdout
    assert not house.run("grep -a ecrlogind /var/lib/systemd/catalog/database", check=False).stdout


def test_a_wheel_that_is_not_the_one_of_the_hash_is_refused_and_leaves_what_was_there(house):
    house.provision()
    house.run("cp -r /wheelhouse /tmp/bad && sed -i 's/sha256:....../sha256:000000/' /tmp/bad/requirements.txt")
    refused = house.provision(WHEELHOUSE="/tmp/bad", check=False)
    assert refused.returncode
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    house.run("ecrlogind check && ! test -e /opt/ecrlogind.old")
    assert house.provision().stdout == "provision: nothing to do\n"

    # Settings that are wrong are told of in the same way, and the build fails.
    refused = house.provision(SETTINGS="/etc/hostname", check=False)
    assert refused.returncode
    assert "/etc/ecrlogind/config.toml" in refused.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"RUNNER_USERS": ""}, "nobody is named whose logins are to be kept"),
        ({"RUNNER_USERS": 'a"b'}, 'RUNNER_USERS: a"b is no user name'),
        ({"REGISTRIES": "https://x"}, "REGISTRIES: https://x is no host name"),
        ({"PYTHON": "/nonexistent/python3"}, "PYTHON=/nonexistent/python3 is no Python 3.11 or newer"),
        ({"WHEELHOUSE": "/srv"}, "/srv has no requirements.txt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_it_cannot_go_by_is_said_in_one_line_and_what_to_do_in_another(house, wrong, told):
    refused = house.provision(check=False, **wrong)
    assert refused.returncode
    assert told in refused.stderr


def test_without_root_it_does_nothing(house):
    refused = house.run("su runner -c 'bash /packer/provision.sh'", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("provision: not root\n  run it by sudo")


@pytest.mark.parametrize("platform", ["manylinux2014_x86_64", "manylinux2014_aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_one_wheelhouse_serves_every_architecture_and_python(tmp_path, platform, python):
    wheels = baking.wheelhouse()
    assert all(wheel.name.endswith("-none-any.whl") for wheel in wheels.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-index"]
    command += ["--find-links", wheels, "--require-hashes", "-r", wheels / "requirements.txt", "--target", tmp_path]
    command += ["--only-binary=:all:", "--platform", platform, "--python-version", python]
    subprocess.run(command, check=True)


def test_a_wheelhouse_that_is_not_pure_python_is_not_made(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='bound', version='1', extras_require={'metrics': []},"
        " ext_modules=[Extension('bound', ['bound.c'])])\n"
    )
    (source / "bound.c").write_text("int PyInit_bound(void) { return 0; }\n")
    command = [sys.executable, PACKER / "wheelhouse.py", tmp_path / "house", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "for one machine only: bound-1-" in done.stderr
    assert not (tmp_path / "house").exists()
