import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.courier import DENIED, Home, inject, traced
from tests.support.need import need


@pytest.fixture(params=[(), DENIED], ids=["all calls", "denied"])
def deny(request):
    """Run the test twice: as it is, and under a seccomp filter such as container runtimes and RestrictSUIDSGID= bring.

    A test that is about the exchange itself takes a `plain` home instead.
    """
    return request.param


@pytest.fixture
def home(tmp_path, deny):
    """Return an empty home of the user who runs the tests."""
    one = Home(tmp_path / "home", deny=deny)
    one.path.mkdir(mode=0o700)
    yield one
    one.close()


@pytest.fixture
def plain(tmp_path):
    """Return an empty home whose couriers may use every system call."""
    one = Home(tmp_path / "home")
    one.path.mkdir(mode=0o700)
    yield one
    one.close()


@pytest.fixture
def other_homes(deny):
    """Return what makes an empty home for another user, where that user can get to."""
    need(os.geteuid() == 0, "root, to be other users")
    base = Path(tempfile.mkdtemp(prefix="ecrlogind-homes-", dir="/var/tmp"))
    base.chmod(0o755)
    made = []

    def make(uid):
        one = Home(base / str(uid), uid, deny)
        one.path.mkdir(mode=0o700)
        os.chown(one.path, uid, uid)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
    shutil.rmtree(base)


@pytest.fixture
def mounted():
    """Return what mounts something for the length of a with block."""
    need(os.geteuid() == 0, "root, to mount")

    @contextmanager
    def mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", arguments[-1]], check=True)

    return mount


@pytest.fixture
def injected(tmp_path):
    """Return what sends a courier whose first call of a name, once it has its errand, meets with something."""
    need(shutil.which("strace"), "strace")

    def send(home, call, what, **errand):
        text = home.config.read_bytes()
        calls = traced(home, tmp_path / "calls", **errand)
        home.write(text)
        ordinal = next(n for name, n, _ in calls if name == call)
        return home.send(prefix=inject(call, what, ordinal), **errand)

    return send


@pytest.fixture
def hanging_mount():
    """Return what mounts a file system whose server answers nothing once it is mounted, as a dead NFS server."""
    need(os.geteuid() == 0, "root, to mount")
    need(Path("/dev/fuse").exists(), "/dev/fuse")

    @contextmanager
    def mount(where):
        server = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        need(libc.mount(b"dead", os.fsencode(where), b"fuse", 0, options) == 0, "FUSE")
        try:
            # linux/fuse.h: the INIT request is a header of 40 bytes and the kernel's version; so we take it all.
            unique = struct.unpack_from("=Q", os.read(server, 1 << 17), 8)[0]
            init = struct.pack("=IIIIHHIII28x", 7, 23, 0, 0, 0, 0, 4096, 1, 0)[:64].ljust(64, b"\0")
            os.write(server, struct.pack("=IiQ", 16 + len(init), 0, unique) + init)
            yield
        finally:
            libc.umount2(os.fsencode(where), 2)  # MNT_DETACH
            os.close(server)

    return mount
