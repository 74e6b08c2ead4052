"""Send real couriers on errands: to any home, as any user, under strace or with system calls taken away."""

import atexit
import base64
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import ecrlogind
from ecrlogind.core.codec import decode, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.wire import Errand, Report

HOST = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"

# What container runtimes and RestrictSUIDSGID= may take from a courier: see `deny`.
DENIED = ("renameat2", "openat2:EPERM")

# The system's own: other users cannot enter where a venv may lie, and a courier needs the standard library only.
PYTHON = "/usr/bin/python3"

_LAUNCH = """
import runpy, sys
sys.path[:0] = [sys.argv[1]]
if sys.argv[2:]:
    import deny
    deny.deny(sys.argv[2:])
runpy.run_module("ecrlogind.courier", run_name="__main__", alter_sys=True)
"""


def auth(password, user="AWS"):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def config(**entries):
    """Return a config.json as docker writes it, with *entries* as host → password."""
    return json.dumps({"auths": {host: {"auth": auth(password)} for host, password in entries.items()}}, indent="\t")


@cache
def package():
    """Return a directory that everybody may enter, with a copy of the package in it."""
    place = Path(tempfile.mkdtemp(prefix="ecrlogind-package-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    shutil.copytree(
        Path(ecrlogind.__file__).parent,
        place / "ecrlogind",
        ignore=shutil.ignore_patterns("__pycache__", "keeper", "issuer"),
    )
    for name in ("deny.py", "naive.py", "rounds.py"):
        shutil.copy(Path(__file__).parent / name, place)
    subprocess.run([PYTHON, "-m", "compileall", "-q", place], check=True)
    subprocess.run(["chmod", "-R", "go=u-w", place], check=True)
    return place


def command(deny=()):
    """Return what to run for a courier that cannot use the system calls *deny*."""
    return [PYTHON, "-I", "-c", _LAUNCH, str(package()), *deny]


class Home:
    """A user's home and the couriers that are sent there."""

    def __init__(self, path, uid=None, deny=(), program=None):
        self.path = Path(path)
        self.uid = os.geteuid() if uid is None else uid
        self.deny = tuple(deny)
        self.program = program  # instead of a courier
        self.descriptors = []

    @property
    def docker(self):
        return self.path / ".docker"

    @property
    def config(self):
        return self.docker / "config.json"

    def write(self, text):
        """Put a config.json there, as its user."""
        self.docker.mkdir(mode=0o700, exist_ok=True)
        self.config.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.config.chmod(0o600)
        for each in (self.docker, self.config):
            os.chown(each, self.uid, self.uid)

    def auths(self):
        """Return what stands under auths: host → password."""
        entries = json.loads(self.config.read_text())["auths"]
        return {host: base64.b64decode(entry["auth"]).decode().partition(":")[2] for host, entry in entries.items()}

    def beside(self):
        """Return the names that stand beside the config.json."""
        return sorted(name for name in os.listdir(self.docker) if name != "config.json")

    def errand(self, logins=None, *, deadline=5, **more):
        logins = {HOST: "new"} if logins is None else logins
        return Errand(
            **{
                "path": str(self.config),
                "home": str(self.path),
                "logins": {host: Secret(auth(password)) for host, password in logins.items()},
                "deadline": timedelta(seconds=deadline),
                **more,
            }
        )

    def start(self, errand, *, prefix=(), **popen):
        """Send a courier and return its process; the errand is handed over already."""
        process = subprocess.Popen(
            [*prefix, *(self.program or command(self.deny))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"cwd": "/", "env": {}, **self.as_user(), **popen},
        )
        with suppress(BrokenPipeError):
            process.stdin.write(encode(errand))
            process.stdin.close()
        process.stdin = None
        return process

    def send(self, logins=None, *, prefix=(), **more):
        """Send a courier through pipes and return its report."""
        errand = self.errand(logins, **more)
        process = self.start(errand, prefix=prefix)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        return decode(Report, out).full(errand)

    def watch(self, logins=None, **more):
        """Send a courier through a socket, as the keeper does; return its report and the inotify descriptor."""
        ours, its = socket.socketpair()
        with ours, its:
            process = subprocess.Popen(
                command(self.deny), stdin=its, stdout=its, stderr=subprocess.PIPE, cwd="/", env={}, **self.as_user()
            )
            its.close()
            errand = replace(self.errand(logins, **more), watch=True)
            ours.sendall(encode(errand))
            line, descriptors, _, _ = socket.recv_fds(ours, 1 << 16, 4)
            while not line.endswith(b"\n") and (more_of_it := ours.recv(1 << 16)):
                line += more_of_it
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        self.descriptors += descriptors
        return decode(Report, line).full(errand), *descriptors

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)

    def as_user(self):
        return {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}


# What a courier does in its own memory and time is nothing that a fault could hit.
_INSIDE = "!brk,mmap,munmap,mprotect,mremap,madvise,futex,rt_sigaction,rt_sigprocmask,clock_nanosleep,gettid,getrandom"


def traced(home, log, **errand):
    """Send a courier under strace; return its system calls from its errand on, as (name, which one of them, line)."""
    home.send(prefix=("strace", "-qq", "-s", "200", "-o", str(log), "-e", f"trace={_INSIDE}"), **errand)
    seen, calls, has_errand = {}, [], False
    for line in log.read_text().splitlines():
        name = line.partition("(")[0]
        seen[name] = seen.get(name, 0) + 1
        if has_errand and name.isidentifier():
            calls.append((name, seen[name], line))
        has_errand = has_errand or line.startswith("read(0,")
    return calls


def inject(call, what, ordinal):
    """Return the strace that has the *ordinal*-th *call* meet with *what*: ``error=EIO``, ``signal=KILL``."""
    return ("strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={ordinal}")


def naive(way):
    """Return what to run for a writer as many are; *way* is ``in-place`` or ``rename``."""
    return [PYTHON, "-I", str(package() / "naive.py"), way]


def is_ready(descriptor, within=0):
    """Whether an inotify descriptor tells of a change."""
    return bool(select.select([descriptor], [], [], within)[0])
