import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.courier import DENIED, Home, inject, traced
from tests.support.mounts import dead_server, mount
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
    """Return what mounts a file system whose server answers nothing once it is mounted."""
    return dead_server
