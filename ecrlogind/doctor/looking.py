"""What the host looks like to one user: found out in a process that is that user, so that no right is judged twice.

Nothing is imported in that process: it may not be able to read our own files.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ecrlogind.core.codec import WireError, decode, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.delivery import Account
from ecrlogind.core.document import Document, Unfit
from ecrlogind.doctor.clients.podman import podman_files
from ecrlogind.doctor.evidence import HelperSaid, Seen, User

# What clients look at. Of the proxies it matters that they are there.
VARIABLES = (
    "HOME",
    "PATH",
    "DOCKER_CONFIG",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_HOST",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "ECRLOGIND_STATE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_LARGEST = 1 << 20
_HELPER_PATIENCE = 10
_PATIENCE = 30
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMDS = ("169.254.169.254", 80)


def look_as(
    account: Account, hosts: Iterable[str], environment: Mapping[str, str] | None, *, imds: bool
) -> User | None:
    """Return what *account* sees; None if that cannot be found out.

    *environment* is None for another user than the caller. *hosts* are those that helpers are asked about.
    """
    is_caller = environment is not None
    known = {key: value for key, value in (environment or {}).items() if key in VARIABLES}
    user = User(account.name, account.uid, account.gid, account.home, known, is_caller)
    wanted = tuple(hosts)

    def look() -> User:
        return _look(user, wanted, imds=imds)

    if os.geteuid() == account.uid:
        return look()
    return _in_another_process(account, look) if os.geteuid() == 0 else None


def _look(user: User, hosts: Iterable[str], *, imds: bool) -> User:
    paths = dict.fromkeys((user.docker_file, user.own_file, *podman_files(user)))
    directories = dict.fromkeys((user.home, user.docker_directory, f"{user.home}/.ecr"))
    files = tuple([see(path) for path in paths] + [see(path, read=False) for path in directories])
    asked = dict.fromkeys((helper, host) for host in hosts for helper in _helpers_for(host, files))
    return replace(
        user,
        files=files,
        helpers=tuple(_ask_helper(helper, host, user) for helper, host in asked),
        runs_us=os.access(sys.executable, os.X_OK),
        imds=_reach_imds() if imds else "",
    )


def see(path: str, *, read: bool = True) -> Seen:
    """Look at one file."""
    try:
        found = Path(path).stat()
        if not read:
            text = None
        elif stat.S_ISREG(found.st_mode):
            with Path(path).open("rb") as stream:
                text = stream.read(_LARGEST).decode("utf-8", "replace")
        else:
            return _seen(path, found, "EISDIR")
    except OSError as error:
        return _unseen(path, error)
    return _seen(path, found, "", text)


def _seen(path: str, found: os.stat_result, error: str, text: str | None = None) -> Seen:
    return Seen(path, error, text, found.st_uid, found.st_gid, found.st_mode)


def _unseen(path: str, error: OSError) -> Seen:
    name = errno.errorcode.get(error.errno or 0, "EIO")
    with suppress(OSError):
        return _seen(path, Path(path).stat(), name)
    return Seen(path, name)


def _helpers_for(host: str, files: Iterable[Seen]) -> Iterator[str]:
    for each in files:
        if each.text is None:
            continue
        try:
            document = Document.of(each.text)
            helper = document.helper(host)
        except Unfit:
            continue
        if named := document.store if helper is None else helper:
            yield named


def _ask_helper(helper: str, host: str, user: User) -> HelperSaid:
    """Ask a helper as docker does. Its name comes from a file of the user's, and it runs as the user."""
    environment = {"PATH": _USUAL_PATH, "HOME": user.home, "USER": user.name, **user.environment}
    program = shutil.which(f"docker-credential-{helper}", path=environment["PATH"]) if "/" not in helper else None
    if program is None:
        return HelperSaid(helper, host, "missing", said="not installed, or not in PATH")
    try:
        done = subprocess.run(
            [program, "get"],
            input=host.encode(),
            capture_output=True,
            env=environment,
            cwd="/",
            timeout=_HELPER_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return HelperSaid(helper, host, "failed", said=type(error).__name__)
    if done.returncode == 0:
        try:
            given = json.loads(done.stdout)
            return HelperSaid(
                helper, host, "login", str(given["Username"]), Secret(str(given["Secret"])), "has a login"
            )
        except (ValueError, KeyError, TypeError):
            return HelperSaid(helper, host, "failed", said="what it prints is no login")
    words = ascii((done.stdout or done.stderr)[:300].decode("utf-8", "replace").strip())[1:-1]
    return HelperSaid(helper, host, "not_found" if "not found" in words else "failed", said=words or "it fails")


def _reach_imds() -> str:
    """Whether this user's processes can talk to the instance metadata service."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect(_IMDS)  # not by create_connection: its look-up of names would have to be imported here
        except OSError:
            return "no"
    return "yes"


def _in_another_process(account: Account, look: Callable[[], User]) -> User | None:
    """Become *account* in a child, look there, and have what was seen passed back. We are root."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.chdir("/")
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
            line = encode(look())
            while line:
                line = line[os.write(writing, line) :]
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    line = _read_until_end(reading, child)
    _, status = os.waitpid(child, 0)
    if status != 0:
        return None
    try:
        return decode(User, line)
    except WireError:
        return None


def _read_until_end(descriptor: int, child: int) -> bytes:
    line, until = bytearray(), time.monotonic() + _PATIENCE
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while select.select([stream], [], [], max(0.0, until - time.monotonic()))[0]:
            chunk = stream.read(1 << 16)
            if not chunk:
                return bytes(line)
            line += chunk
    os.kill(child, signal.SIGKILL)
    return b""
