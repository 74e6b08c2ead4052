import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ecrlogind.core.dockerconfig import Trouble, digest
from tests.support.courier import HOST, Home, auth, config
from tests.support.need import need

pytestmark = pytest.mark.system

USER = 61_002


@pytest.fixture
def user(other_homes):
    """Return the home of a user of whom nothing is in /run."""
    return other_homes(USER)


def put(user, path, text):
    """Write a file of the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    subprocess.run(["chown", "-R", f"{user.uid}:{user.uid}", user.path], check=True)
    return path


def in_home(user):
    return user.path / ".config" / "containers" / "auth.json"


def shadow(report):
    return report.found[HOST].shadow


def test_a_store_makes_docker_ignore_the_file(user):
    user.write('{"credsStore": "pass"}')

    report = user.send()

    assert shadow(report).code == Trouble.SHADOWED_BY_STORE
    assert user.auths() == {HOST: "new"}


def test_a_fix_has_our_helper_asked_and_stays(user):
    user.write('{"credsStore": "pass"}')

    assert shadow(user.send(fix_shadows=True)) is None

    assert json.loads(user.config.read_text()) == {"credsStore": "pass", "credHelpers": {HOST: "ecrlogind"}}
    assert not user.send(fix_shadows=True).changed


def test_another_login_in_podmans_file_is_reported_with_the_command(user):
    path = put(user, in_home(user), config(**{HOST: "job"}))

    found = shadow(user.send())

    assert found.code == Trouble.SHADOWED_BY_AUTH_JSON
    assert found.hint == f"podman logout --authfile {path} {HOST}"
    assert json.loads(path.read_text())["auths"]


@pytest.mark.parametrize(
    ("uid", "name"), [(61_003, "/run/user/61003/containers/auth.json"), (61_004, "/run/containers/61004/auth.json")]
)
def test_podmans_files_in_run_are_looked_at(other_homes, uid, name):
    user, path = other_homes(uid), Path(name)
    missing = [each for each in path.parents if not each.exists()]
    need(missing, f"a machine without {path.parent}")
    path.parent.mkdir(parents=True)
    try:
        put(user, path, config(**{HOST: "old"}))
        assert name in shadow(user.send()).message
    finally:
        shutil.rmtree(missing[-1])


@pytest.mark.parametrize(
    "text",
    [
        config(**{HOST: "new"}),
        config(**{"quay.io": "x"}),
        "no json",
        "[]",
        "",
        json.dumps({"auths": {f"{HOST}/t": {}}}),
    ],
)
def test_what_does_not_stand_in_the_way_is_no_shadow(user, text):
    put(user, in_home(user), text)

    assert shadow(user.send()) is None


def test_a_helper_in_podmans_file_is_a_shadow(user):
    put(user, in_home(user), json.dumps({"credHelpers": {HOST: "pass"}}))

    assert shadow(user.send()).code == Trouble.SHADOWED_BY_AUTH_JSON


def test_a_fix_removes_a_stale_entry_and_nothing_else(user):
    text = config(**{HOST: "ours of old", "quay.io": "x"})
    path = put(user, in_home(user), text)

    report = user.send(fix_shadows=True, delivered={HOST: (digest(auth("ours of old")),)})

    assert shadow(report) is None
    assert list(json.loads(path.read_text())["auths"]) == ["quay.io"]
    assert os.listdir(path.parent) == ["auth.json"]


def test_a_fix_leaves_a_job_its_fresh_login_until_that_has_had_its_time(user):
    path = put(user, in_home(user), config(**{HOST: "job"}))
    assert shadow(user.send(fix_shadows=True)).code == Trouble.SHADOWED_BY_AUTH_JSON

    old = time.time() - 13 * 3600
    os.utime(path, (old, old))

    assert shadow(user.send(fix_shadows=True)) is None


def test_a_fix_that_cannot_write_says_why(user):
    path = put(user, in_home(user), config(**{HOST: "job"}))
    os.chown(path, 0, 0)
    path.chmod(0o644)

    report = user.send(fix_shadows=True, replace=(HOST,))

    assert shadow(report).code == Trouble.SHADOWED_BY_AUTH_JSON
    assert [note.code for note in report.notes] == [Trouble.WRONG_OWNER]


def test_a_legacy_file_is_reported_with_what_to_do(user):
    path = put(user, user.path / ".dockercfg", json.dumps({f"https://{HOST}": {"auth": auth("old")}}))

    found = shadow(user.send())

    assert found.code == Trouble.SHADOWED_BY_DOCKERCFG
    assert found.hint.endswith(f"mv {path} {path}.away")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_holds_nobody_up(user, make):
    in_home(user).parent.mkdir(parents=True)
    make(in_home(user))
    subprocess.run(["chown", "-R", f"{USER}:{USER}", user.path], check=True)

    assert shadow(user.send()) is None


def test_an_entry_that_docker_stumbles_over_is_noted(tmp_path):
    home = Home(tmp_path)
    home.write('{"auths": {"bad.example": {"auth": "no base64"}}}')

    report = home.send()

    assert [note.code for note in report.notes] == [Trouble.BAD_ENTRY]
    assert "'bad.example'" in report.notes[0].message
    assert home.config.read_text().count("no base64") == 1
