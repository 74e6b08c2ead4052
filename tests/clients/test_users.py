"""Two users on a host, as the kernel tells them apart."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from ecrlogind.core.answers import answer_text
from ecrlogind.core.credential import Credential, Secret
from ecrlogind.keeper.answers import Answers
from tests.support.need import need

pytestmark = pytest.mark.system

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
ONE, TWO = 62_001, 62_002
NOT_FOUND = ("credentials not found in native keychain\n", 1)


def text(password):
    uptime = timedelta(seconds=float(Path("/proc/uptime").read_text().split()[0]))
    credential = Credential("AWS", Secret(password), uptime, uptime + timedelta(hours=1), uptime)
    return answer_text(credential, HOST, None, uptime)


@pytest.fixture
def shared(host):
    """Return a host with a login of its own for each of two users."""
    need(os.geteuid() == 0, "root")
    wanted = {(ONE, HOST): text("one"), (TWO, HOST): text("two")}
    assert Answers(host.state).publish(wanted) == ()
    return host


def test_each_user_gets_its_own_answer_whatever_the_environment_says(shared):
    env = {"UID": str(TWO), "EUID": str(TWO), "USER": "two", "uid": str(TWO)}

    said = {uid: shared.helper("get", stdin=HOST, uid=uid, env=env)[0] for uid in (ONE, TWO)}

    assert '"Secret":"one"' in said[ONE]
    assert '"Secret":"two"' in said[TWO]
    assert shared.helper("get", stdin=HOST) == NOT_FOUND


def test_no_user_can_read_the_answer_of_another(shared):
    for uid, other in ((ONE, TWO), (TWO, ONE)):
        for look in ("cat", "ls"):
            path = f"/run/ecrlogind/answers/{other}" + (f"/{HOST}" if look == "cat" else "")
            as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            done = subprocess.run(shared.inside(*as_user, look, path), capture_output=True, check=False)
            assert done.returncode != 0
            assert done.stdout == b""


def test_a_user_gets_its_own_login_at_home_found_by_uid(shared):
    home = shared.directory / "run/home-of-one"
    home.mkdir()
    os.chown(home, ONE, ONE)
    with (shared.directory / "passwd").open("a") as users:
        users.write(f"one:x:{ONE}:{ONE}::/run/home-of-one:/bin/sh")  # without a line break, as an editor may leave it
    login = f'{{"ServerURL":"{HOST}","Username":"me","Secret":"mine"}}'

    assert shared.helper("store", stdin=login, uid=ONE) == ("", 0)

    assert shared.helper("get", stdin=HOST, uid=ONE) == (login + "\n", 0)
    assert (home / ".docker/ecrlogind-own").stat().st_uid == ONE
    assert '"Secret":"two"' in shared.helper("get", stdin=HOST, uid=TWO)[0]


def test_a_user_without_a_home_is_told_so_and_still_gets_ours(shared):
    login = f'{{"ServerURL":"{HOST}","Username":"me","Secret":"mine"}}'

    said, code = shared.helper("store", stdin=login, uid=ONE)

    assert code == 1
    assert "cannot be written" in said
    assert '"Secret":"one"' in shared.helper("get", stdin=HOST, uid=ONE)[0]


def test_answers_that_a_user_is_shut_out_of_are_an_error_and_not_unknown(shared):
    (shared.state / "answers" / str(ONE)).chmod(0o700)

    said, code = shared.helper("get", stdin=HOST, uid=ONE)

    assert code == 1
    assert said == f"ecrlogind: {HOST}: uid {ONE} may not look into /run/ecrlogind/answers/{ONE}\n"
