"""Run inside a unit, in place of its own program: prints as JSON what can be done from there. Standard library only."""

import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import sys
from pathlib import Path


def status():
    return dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())


def attempt(act, *arguments):
    """Return "ok", or the name of the error."""
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def opens_socket(family):
    socket.socket(family, socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM).close()


def writes(path):
    if Path(path).is_dir():
        Path(path, "planted").touch()
        Path(path, "planted").unlink()
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def connects(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)


def maps_code():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def calls(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def as_user(uid, act, *arguments):
    """Do it as a courier would, in a child that has become that user; return what came of it and its capabilities."""
    ours, theirs = os.pipe()
    if not (child := os.fork()):
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        said = [attempt(act, *arguments), status()["CapEff"]]
        os.write(theirs, json.dumps(said).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with os.fdopen(ours) as pipe:
        return json.load(pipe)


def main():
    asked = json.loads(Path("/usr/local/share/probe.json").read_text())
    own = status()
    may_become = int(own["CapEff"], 16) != 0
    found = {
        "uid": os.getuid(),
        "network": str(Path("/proc/self/ns/net").readlink()),
        "interfaces": [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]],
        "capabilities": own["CapEff"],
        "bounding": own["CapBnd"],
        "no_new_privileges": own["NoNewPrivs"],
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "families": {name: attempt(opens_socket, getattr(socket, name)) for name in asked["families"]},
        "writes": {path: attempt(writes, path) for path in asked["writes"]},
        "connects": {path: attempt(connects, path) for path in asked["connects"]},
        "as_user": {path: as_user(uid, writes, path) for path, uid in asked["as_user"].items() if may_become},
        "maps_code": attempt(maps_code),
        "mounts": attempt(calls, "mount", b"none", b"/mnt", b"tmpfs", 0, None),
        "unshares": attempt(calls, "unshare", 0x10000000),
    }
    sys.stdout.write(json.dumps(found))


main()
