"""`make demo`: it shows what it says, to anybody, and leaves nothing behind."""

import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.people import person
from tests.support.reachable import command_of

ROOT = Path(__file__).parent.parent.parent

SHOWN = [
    "The daemon starts",
    "in place",
    "the first password at the registry: taken",
    "the first password after the renewal: refused",
    "the second password: taken",
    "put back",
    "ecrlogind: healthy; 6 of 6 logins in place",
    "The daemon has stopped.",
]


@pytest.mark.system
def test_the_demo_shows_it_all_to_an_ordinary_user_on_loopback_alone_and_leaves_nothing(tmp_path):
    need(shutil.which("strace"), "strace")
    log = tmp_path / "strace"
    trace = ["strace", "-f", "--seccomp-bpf", "-o", log, "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    with person() as somebody:
        temporary = somebody.home / "tmp"
        temporary.mkdir(mode=0o700)
        os.chown(temporary, somebody.uid, somebody.uid)
        before = left_in(somebody.home)
        demo = command_of(
            somebody,
            sys.executable,
            "-m",
            "standin.demo",
            holding=tmp_path,
            TMPDIR=temporary,
            PYTHONDONTWRITEBYTECODE="1",
        )

        # strace ends when the last of those that it traces has ended.
        done = subprocess.run([*trace, *demo], capture_output=True, text=True, timeout=100, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        assert left_in(somebody.home) == before
    said = done.stdout
    for words in SHOWN:
        assert words in said, said
        said = said.partition(words)[2]
    calls = log.read_text().splitlines()
    addressed = [place for call in calls for place in addressees(call)]
    assert len(addressed) > 10
    assert [place for place in addressed if not ip_address(place).is_loopback] == []


def left_in(directory):
    return sorted(str(path) for path in directory.rglob("*"))


def addressees(call):
    """Return the addresses that a line of strace's names, of any kind but local ones."""
    families = set(re.findall(r"sa_family=(AF_\w+)", call))
    assert families <= {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNSPEC"}, call
    found = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', call)
    assert len(found) == len(re.findall("sa_family=AF_INET", call)), call
    return ["".join(each) for each in found]


def test_the_demo_fails_when_the_registry_does_not_refuse_the_first_password(tmp_path):
    code = "import sys; from standin.demo import main; sys.exit(main(only_newest=False))"
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 1
    assert "The demo failed: the first password after the renewal: the registry answers 200" in done.stderr
    assert left_in(tmp_path) == []


def test_make_runs_that_very_demo():
    need(shutil.which("make"), "make")
    # These tests may themselves be run by a make, which would have this one tell of directories.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    told = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines()[-1].endswith("/python -m standin.demo")
