"""AWS's real host names on loopback: lines of ours in /etc/hosts, for as long as a test needs them."""

import contextlib
import fcntl
import os
import random
import socket
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from tests.support.need import need

HOSTS = Path("/etc/hosts")
LOCK = Path("/run/lock/ecrlogind-tests-hosts.lock")
MARK = "# ecrlogind-test"
PATIENCE = 60


def loopback_address():
    """Return an address of this machine's that nobody else is likely to use: 127/8 is all ours."""
    while True:
        address = f"127.{random.SystemRandom().randint(16, 254)}.{random.SystemRandom().randint(0, 254)}.1"
        with contextlib.suppress(OSError), socket.create_server((address, 443)):
            return address


def api_names(*regions):
    """Return the host names of the APIs that are asked in *regions*: ECR in all its forms, STS, and ECR Public."""
    names = ["api.ecr-public.us-east-1.amazonaws.com"]
    for region in regions:
        suffix, dual_stack = "amazonaws.com", "api.aws"
        if region.startswith("cn-"):
            suffix, dual_stack = "amazonaws.com.cn", "api.amazonwebservices.com.cn"
        names += [
            f"api.ecr.{region}.{suffix}",
            f"api.ecr-fips.{region}.{suffix}",
            f"ecr.{region}.{dual_stack}",
            f"ecr-fips.{region}.{dual_stack}",
            f"sts.{region}.{suffix}",
            f"sts-fips.{region}.{suffix}",
            f"sts.{region}.{dual_stack}",
        ]
    return names


@contextmanager
def resolving(address, *names):
    """Let *names* be found at *address* on this machine.

    Another test that holds one of them at another address is waited for. Lines that a killed test left are taken out.
    """
    need(os.geteuid() == 0, "root, to write /etc/hosts")
    tag = f"{MARK} {os.getpid()} {uuid.uuid4().hex}"
    ends_at = time.monotonic() + PATIENCE
    while not _claimed(address, names, tag):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"another test has held one of {names} for {PATIENCE} s")
        time.sleep(0.1)
    try:
        yield
    finally:
        with _locked():
            _write([line for line in _lines() if not line.endswith(tag)])


@contextmanager
def on_real_names(aws, *names):
    """Let the stand-in *aws* serve TLS on port 443 under *names*; yield the address."""
    address = loopback_address()
    aws.listen(address)
    with resolving(address, *names):
        yield address


def _claimed(address, names, tag):
    """Write our lines, unless another living test holds one of *names*; return whether they stand."""
    with _locked():
        lines = [line for line in _lines() if not _is_orphan(line)]
        held = {name for line in lines if MARK in line for name in line.partition("#")[0].split()[1:]}
        if held & set(names):
            return False
        _write([*lines, *(f"{address} {name} {tag}" for name in names)])
        return True


def _is_orphan(line):
    _, mark, rest = line.partition(MARK)
    return bool(mark) and not Path("/proc", rest.split()[0]).exists()


def _lines():
    return HOSTS.read_text().splitlines()


def _write(lines):
    # In place, in one write: it may be a mount of its own, and those who read it meanwhile must not find it empty.
    text = "".join(f"{line}\n" for line in lines).encode()
    descriptor = os.open(HOSTS, os.O_WRONLY)
    try:
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
    finally:
        os.close(descriptor)


@contextmanager
def _locked():
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
