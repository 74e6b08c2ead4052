"""A courier is killed, or told an error, at every system call of an errand: the file is old or new, and whole."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import pytest

from ecrlogind.core.codec import decode
from ecrlogind.core.dockerconfig import Trouble, digest
from ecrlogind.core.wire import Report
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.errand import Visit
from tests.support.courier import DENIED, HOST, OTHER, Home, auth, config, inject, naive, traced
from tests.support.need import need

pytestmark = [pytest.mark.system, pytest.mark.timeout(7200)]

THEIRS = "quay.io"
ERRORS = (
    "ENOSPC",
    "EDQUOT",
    "EIO",
    "EPERM",
    "EROFS",
    "EACCES",
    "ELOOP",
    "EMFILE",
    "EINTR",
    "ENOMEM",
    "ESTALE",
    "ENOSYS",
)

CHANGING = ("mkdirat", "write", "fchmod", "fsync", "renameat", "renameat2", "linkat", "unlinkat", "fcntl")

# They cannot fail, or what they say is nobody's: the report's own way out, and the end.
NO_ERROR = ("exit_group", "geteuid", "getegid", "clone3", "clone")


@dataclass(frozen=True)
class Story:
    """An errand in a home: what stands there *before*, what is asked, and what must stand there *after*."""

    before: str | None
    logins: dict
    errand: dict
    after: dict


STORIES = {
    "a first login": Story(None, {HOST: "new"}, {}, {HOST: "new"}),
    "a renewal": Story(
        config(**{THEIRS: "x", HOST: "old"}),
        {HOST: "new"},
        {"delivered": {HOST: (digest(auth("old")),)}},
        {THEIRS: "x", HOST: "new"},
    ),
    "a removal": Story(
        config(**{THEIRS: "x", HOST: "old", OTHER: "old"}),
        {OTHER: "old"},
        {"remove": (HOST,), "delivered": {HOST: (digest(auth("old")),)}},
        {THEIRS: "x", OTHER: "old"},
    ),
}


class Stage:
    """Plays one story again and again, each time with another mishap."""

    def __init__(self, story, place, deny=(), program=None):
        self.story = story
        self.place = place
        self.deny = deny
        self.program = program
        self.played = 0

    def home(self, name):
        home = Home(self.place / name, deny=self.deny, program=self.program)
        home.path.mkdir(mode=0o700)
        if self.story.before is not None:
            home.write(self.story.before)
        return home

    def calls(self):
        home = self.home("trace")
        calls = traced(home, self.place / "calls", logins=self.story.logins, **self.story.errand)
        self.after = home.config.read_text()
        shutil.rmtree(home.path)
        return calls

    def play(self, call, ordinal, mishap):
        home = self.home(f"{call}-{ordinal}-{mishap}")
        errand = home.errand(self.story.logins, **self.story.errand)
        process = home.start(errand, prefix=inject(call, mishap, ordinal))
        out, err = process.communicate(timeout=60)

        scene = f"{call} #{ordinal}, {mishap}: {out!r} {err.decode()}"
        self.assert_whole(home, scene)
        if mishap.startswith("error="):
            self.assert_told(process.returncode, out, err, scene)
        # The next start, in this process: it finds what the other left behind.
        report, _ = Visit(errand, Deadline(timedelta(seconds=20))).run()
        assert report.refusal is None, scene
        assert home.auths() == self.story.after, scene
        assert home.beside() == [], scene
        shutil.rmtree(home.path)
        self.played += 1

    def assert_whole(self, home, scene):
        if not home.config.exists():
            assert self.story.before is None, scene
            return
        assert home.config.read_text() in (self.story.before, self.after), scene
        assert home.config.stat().st_mode & 0o7777 == 0o600, scene

    def assert_told(self, status, out, err, scene):
        if status:  # only the way out of the report itself can be closed
            assert b"_send(" in err or b"close" in err, scene
            return
        report = decode(Report, out)
        assert report.refusal is None or Trouble(report.refusal.code), scene


def points(calls, mishaps):
    """Return every call with each of the *mishaps*; nothing is told an error that cannot fail."""
    return [
        (call, ordinal, mishap)
        for mishap in mishaps
        for call, ordinal, _ in calls
        if mishap.startswith("signal=") or call not in NO_ERROR
    ]


def play_all(stage, chosen):
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(lambda point: stage.play(*point), chosen):
            pass


@pytest.fixture
def stage(tmp_path):
    need(shutil.which("strace"), "strace")
    return lambda story, deny=(), program=None: Stage(STORIES[story], tmp_path, deny, program)


def test_a_naive_writer_does_leave_a_torn_file(stage):
    one = stage("a renewal", program=naive("in-place"))
    torn = 0

    for call, ordinal, _ in one.calls():
        try:
            one.play(call, ordinal, "signal=KILL")
        except (AssertionError, ValueError):
            torn += 1

    print(f"{torn} of {torn + one.played} kills left a torn file")  # noqa: T201  # the issue asks to see it
    assert torn


def test_a_kill_at_any_system_call_leaves_the_old_file_or_the_new_one(stage):
    one = stage("a renewal")

    play_all(one, points(one.calls(), ["signal=KILL"]))

    print(f"{one.played} kills")  # noqa: T201  # the count is what the issue asks to see
    assert one.played > 60


@pytest.mark.parametrize(
    ("story", "deny"), [("a first login", ()), ("a removal", ()), ("a first login", DENIED), ("a renewal", DENIED)]
)
def test_a_kill_at_any_call_that_changes_something_leaves_the_old_file_or_the_new_one(stage, story, deny):
    one = stage(story, deny)
    changing = [call for call in one.calls() if call[0] in CHANGING or "O_CREAT" in call[2]]

    play_all(one, points(changing, ["signal=KILL"]))

    print(f"{story}: {one.played} kills")  # noqa: T201  # the count is what the issue asks to see
    assert one.played > 8


def test_an_error_from_any_system_call_leaves_the_old_file_or_the_new_one(stage):
    one = stage("a renewal")
    calls = one.calls()

    # Each call meets one of the errors; in the long form each meets them all.
    chosen = [
        (call, ordinal, f"error={ERRORS[n % len(ERRORS)]}")
        for n, (call, ordinal, _) in enumerate(calls)
        if call not in NO_ERROR
    ]
    play_all(one, chosen)

    print(f"{one.played} errors")  # noqa: T201  # the count is what the issue asks to see
    assert one.played > 60


@pytest.mark.long
@pytest.mark.parametrize(
    "deny", [(), ("renameat2",), ("renameat2:EPERM",)], ids=["all calls", "no renameat2", "renameat2 forbidden"]
)
@pytest.mark.parametrize("story", STORIES)
def test_every_error_and_a_kill_at_every_system_call(stage, story, deny):
    one = stage(story, deny)

    play_all(one, points(one.calls(), ["signal=KILL", *(f"error={error}" for error in ERRORS)]))

    print(f"{story}: {one.played} kills and errors")  # noqa: T201  # the count is what the issue asks to see
    assert one.played > 500


def test_a_full_disk_at_any_write_leaves_no_secret_behind_at_once(stage):
    one = stage("a renewal")
    calls = [
        (call, ordinal)
        for call, ordinal, line in one.calls()
        if call in ("write", "fsync", "fchmod") and "(1," not in line
    ]

    for call, ordinal in calls:
        home = one.home(f"full-{call}-{ordinal}")
        home.send(one.story.logins, prefix=inject(call, "error=ENOSPC", ordinal), **one.story.errand)
        texts = [each.read_text() for each in home.docker.iterdir()]
        assert json.loads(texts[0])
        assert len(texts) == 1
