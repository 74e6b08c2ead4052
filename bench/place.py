"""Where everything is measured: a stand-in AWS on AWS's real names, a real dockerd, and what is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Contender
from standin import Fault, Role, StandIn
from tests.support.dockerd import running as running_dockerd
from tests.support.hosts import api_names, on_real_names

ROOT = Path(__file__).parent.parent
REGION = "eu-west-1"
NAMED = 10  # so many registries have real names, for peers that log in at the registry itself
MOST = 1000
# Another one than the bench's own, where there is one: what only we load is then only ours in every count of memory.
PYTHON = "/usr/bin/python3"


def hosts_of(count: int) -> list[str]:
    """Return *count* registries of as many accounts in one region."""
    return [f"{number:012d}.dkr.ecr.{REGION}.amazonaws.com" for number in range(1, count + 1)]


def role_of(host: str) -> str:
    """Return the role by which *host* is read."""
    return f"arn:aws:iam::{host[:12]}:role/pull"


@dataclass(frozen=True)
class Place:
    """A host for one contender at a time. *ours*, *aws_cli* and *boto3* are where programs are installed."""

    directory: Path
    state: Path
    aws: StandIn
    ours: Path
    aws_cli: Path
    boto3: Path
    docker_host: str

    @property
    def docker_config(self) -> Path:
        """The DOCKER_CONFIG of those who use docker."""
        return self.directory / "docker"

    @property
    def destination(self) -> Path:
        """The file that ours delivers to."""
        return self.directory / "destination" / "config.json"

    @property
    def environment(self) -> dict[str, str]:
        """What every contender is told."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory / "home"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.url,
            "AWS_CA_BUNDLE": str(self.aws.ca_file),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,  # the one that the AWS CLI reads
            "DOCKER_HOST": self.docker_host,
            "DOCKER_CONFIG": str(self.docker_config),
            "ECRLOGIND_STATE": str(self.state),
        }

    def afresh(self) -> None:
        """Forget every login and cache: the next one is the first of a host."""
        for name in ("home", "docker", "destination"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        (self.directory / "home").mkdir()
        self.docker_config.mkdir()

    def contender(self, name: str, *command: str, **environment: str) -> Contender:
        """Return *command* as a contender that starts afresh each time."""
        return Contender(name, command, self.environment | environment, self.afresh)

    def settings(
        self,
        hosts: list[str],
        *,
        roles: bool = False,
        destinations: list[str] | None = None,
        check: str = "registry = false",
        renew: str = "",
    ) -> Path:
        """Write settings for *hosts*, with a role each or none; like our peers we do not ask the registries."""
        entries = [f'{{ host = "{each}", role_arn = "{role_of(each)}" }}' if roles else f'"{each}"' for each in hosts]
        places = destinations or [f'{{ path = "{self.destination}" }}']
        config = Path(tempfile.mkdtemp(dir=self.directory)) / "config.toml"
        config.write_text(
            f"registries = [{', '.join(entries)}]\ndestinations = [{', '.join(places)}]\n"
            f'[check]\n{check}\n[renew]\n{renew}\n[aws]\ndeadline = "2min"\n'
        )
        return config

    def login(self, name: str, config: Path) -> Contender:
        """Return `ecrlogind login` with *config*."""
        return self.contender(name, str(self.ours / "bin" / "ecrlogind"), "login", "--config", str(config))

    @contextmanager
    def late(self, seconds: float) -> Iterator[None]:
        """Let every answer of AWS's APIs take *seconds* more."""
        with ExitStack() as stack:
            for service in ("ecr", "sts"):
                stack.enter_context(self.aws.fault(Fault(service=service, latency=seconds)))
            yield


@contextmanager
def opened() -> Iterator[Place]:
    """Set everything up, and take it down again. As root on Debian or Ubuntu."""
    if shutil.which("docker-credential-ecr-login") is None:
        subprocess.run(["apt-get", "install", "--yes", "--quiet=2", "amazon-ecr-credential-helper"], check=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ecrlogind-bench-", dir="/tmp")))
        directory.chmod(0o755)  # couriers of other users run what is installed here
        # In memory, as /run is on a host.
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ecrlogind-bench-", dir=_in_memory())))
        state.chmod(0o755)
        aws = stack.enter_context(StandIn(directory / "aws"))
        for host in hosts_of(MOST):
            aws.world.identities.roles[role_of(host)] = Role()
        dockerd = stack.enter_context(running_dockerd(directory))
        stack.enter_context(on_real_names(aws, *api_names(REGION), *hosts_of(NAMED)))
        yield Place(
            directory,
            state / "state",
            aws,
            ours=_ours(directory / "opt"),
            aws_cli=_kept("aws-cli", "aws", "awscli"),
            boto3=_kept("boto3", "python", "boto3", "--constraint", str(ROOT / "constraints.txt")),
            docker_host=dockerd.host,
        )


def _in_memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _interpreter() -> str:
    fits = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    usable = Path(PYTHON).exists() and subprocess.run([PYTHON, "-c", fits], check=False).returncode == 0
    return PYTHON if usable else sys.executable


def _ours(opt: Path) -> Path:
    """Install what a host has, with nothing of the development environment, as the image's script does it."""
    _install(opt, "--constraint", str(ROOT / "constraints.txt"), str(ROOT))
    script = (ROOT / "packer" / "provision.sh").read_text()
    prune = script[script.index("\nprune() {") : script.index("\n}\n", script.index("\nprune() {")) + 3]
    pip = [opt / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "uninstall", "--yes", "--quiet", "setuptools", "pip"], check=True)
    subprocess.run(["bash", "-euc", f"opt={opt}\n{prune}\nprune"], check=True)
    return opt


def _kept(name: str, program: str, *packages: str) -> Path:
    """Install a peer from the Python package index, in a place of its own that is kept."""
    place = ROOT / ".venv-bench" / name
    if not (place / "bin" / program).exists():
        _install(place, *packages)
    return place


def _install(venv: Path, *packages: str) -> None:
    subprocess.run([_interpreter(), "-m", "venv", "--clear", venv], check=True)
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True)
