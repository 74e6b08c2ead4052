"""Other users of this machine, for a test's time, and an installation that they can run."""

import os
import secrets
import shutil
import subprocess
import sysconfig
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.need import need

ROOT = Path(__file__).parent.parent.parent
SYSTEM_PYTHON = Path("/usr/bin/python3")

# What ecrlogind needs at run time, and what those need.
PACKAGES = (
    "apscheduler",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "s3transfer",
    "sdnotify",
    "structlog",
    "tzlocal",
    "urllib3",
)
MODULES = ("six.py",)


@dataclass(frozen=True)
class Person:
    """An ordinary user with a home of their own."""

    name: str
    uid: int
    home: Path

    def run(self, *command, **options):
        """Run *command* as this user, with nothing of our environment but a PATH."""
        identity = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--init-groups"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)} | options.pop("env", {})
        options = {"capture_output": True, "text": True, "timeout": 60, "cwd": "/"} | options
        return subprocess.run([*identity, *map(str, command)], check=False, env=environment, **options)


def some_name():
    """Return a name that no user of this machine has."""
    return f"ecrl-{secrets.token_hex(4)}"


@contextmanager
def person(name=None):
    """Create a user, and take the user and the home away afterwards."""
    need(os.geteuid() == 0, "root, to create users")
    need(shutil.which("useradd"), "useradd")
    place = Path(tempfile.mkdtemp(prefix="ecrlogind-home-", dir="/tmp"))
    place.chmod(0o755)
    name = name or some_name()
    home = place / name
    _users("useradd", "--create-home", "--home-dir", home, "--user-group", "--shell", "/bin/sh", name)
    try:
        yield Person(name, home.stat().st_uid, home)
    finally:
        _users("userdel", name)
        shutil.rmtree(place)


def _users(*command):
    """Change the user database; another test may hold its lock, and the user's last process be about to end."""
    end = time.monotonic() + 30
    while True:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        passes = "lock" in done.stderr or "used by process" in done.stderr
        if not passes or time.monotonic() > end:
            raise AssertionError(done.stderr)
        time.sleep(0.05)


@contextmanager
def installation():
    """Yield the command of an ecrlogind that every user of this machine can run."""
    need(SYSTEM_PYTHON.exists(), f"{SYSTEM_PYTHON}, which other users can run")
    place = Path(tempfile.mkdtemp(prefix="ecrlogind-opt-", dir="/tmp"))
    try:
        place.chmod(0o755)
        done = subprocess.run(
            [SYSTEM_PYTHON, "-I", "-m", "venv", "--without-pip", place / "venv"], capture_output=True, check=False
        )
        need(done.returncode == 0, "python3-venv of the system's Python")
        [packages] = (place / "venv" / "lib").glob("python3*/site-packages")
        ours = Path(sysconfig.get_path("purelib"))
        for name in PACKAGES:
            shutil.copytree(ours / name, packages / name, ignore=_unneeded)
        for name in MODULES:
            shutil.copy(ours / name, packages)
        shutil.copytree(ROOT / "ecrlogind", packages / "ecrlogind", ignore=_unneeded)
        yield [str(place / "venv" / "bin" / "python"), "-I", "-m", "ecrlogind"]
    finally:
        shutil.rmtree(place)


def _unneeded(directory, names):
    """Leave out bytecode of another Python, and what botocore knows of services that we never ask."""
    wanted = {"ecr", "ecr-public", "sts", "sso", "sso-oidc", "signin"}
    is_data = Path(directory).parts[-2:] == ("botocore", "data")
    return [
        name
        for name in names
        if name == "__pycache__" or (is_data and name not in wanted and (Path(directory) / name).is_dir())
    ]
