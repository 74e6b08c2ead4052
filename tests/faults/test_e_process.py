"""E: the process, signals, systemd."""

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from standin import Fault
from tests.support.canary import descendants
from tests.support.interposed import meeting
from tests.support.need import need
from tests.support.notify import NotifySocket
from tests.support.processes import children, state_of
from tests.support.rows import row
from tests.support.sleeper import FAKETIME, Sleeper
from tests.support.story import FOREIGN, IN_EU, SOUND, VICTIM

HANG = Fault(**IN_EU, behaviour="hang")


@pytest.fixture
def systemd(story):
    """Yield a notify socket that the story's daemon is told of, with a watchdog."""
    one = NotifySocket(story.directory / "notify")
    story.keeper.environment |= {"NOTIFY_SOCKET": one.path, "WATCHDOG_USEC": "1500000"}
    yield one
    one.close()


def sound_is_in_place(story):
    return {story.state(SOUND, name) for name in ("one", "two")} == {"in_place"}


def beside(story):
    return [name for name in os.listdir(story.destinations["one"].parent) if name != "config.json"]


@row(
    "E1",
    provoked="SIGTERM while AWS hangs in the middle of a question",
    holds="it says STOPPING=1, its children end with it, exit 0 within 5 s; the logins in place stay",
)
def test_e1_a_stop_in_the_middle_of_a_question(story, systemd):
    with story.aws.fault(HANG):
        story.start()
        story.until(lambda: sound_is_in_place(story) and story.calls(), "the other login, and the question")
        below = descendants(story.pid)
        started = time.monotonic()
        story.stop()
        assert time.monotonic() - started < 5
        systemd.read_until(b"STOPPING=1")
        story.until(lambda: all(state_of(pid) in "ZX" for pid in below), "the end of its children")


@row(
    "E2",
    provoked="SIGTERM while a courier writes (it is held up in its flush)",
    holds="exit 0; the file is the old one or the new one, and whole; the next start leaves nothing beside it",
)
def test_e2_a_stop_in_the_middle_of_a_write(story, couriers):
    need(shutil.which("strace"), "strace")
    story.affects(VICTIM, SOUND)
    couriers.behind(*meeting("fsync", "delay_enter=1500000:when=1"))
    story.start()
    story.until(lambda: beside(story), "a courier that writes")
    story.stop()
    couriers.as_it_is()
    story.ends_with = None
    story.start().settle()
    story.until(lambda: beside(story) == [], "a clean directory")


@row(
    "E3",
    provoked="SIGKILL for the daemon and all its children, in the middle of a write",
    holds="the next start recovers: every login in place, nothing left beside, AWS asked for nothing that is held",
)
def test_e3_killed_in_the_middle_of_a_write(story, couriers):
    need(shutil.which("strace"), "strace")
    story.affects(VICTIM, SOUND)
    story.start().settle()
    asked = len(story.aws.calls(service="ecr"))
    couriers.behind(*meeting("fsync", "delay_enter=1500000:when=1"))

    def written():
        if VICTIM in story.keeper.auths():  # at first, and if one that was on its way before has put it back
            story.put(FOREIGN)
        return beside(story)

    story.until(written, "a courier that writes")
    below = descendants(story.pid)
    for pid in (story.pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    story.keeper.process.wait()
    couriers.as_it_is()
    story.start().settle()
    story.until(lambda: beside(story) == [], "a clean directory")
    assert len(story.aws.calls(service="ecr")) == asked


@row(
    "E4",
    provoked="SIGHUP with settings that are wrong, then with right ones",
    holds="RELOADING=1 and READY=1 all the same; the problem is told by key and file, the running settings stay; "
    "ExecReload's `ecrlogind check` exits 78",
)
def test_e4_a_reload_of_wrong_settings(story, systemd):
    story.start()
    systemd.read_until(b"READY=1")
    story.settle()
    right = story.keeper.config.read_text()
    story.keeper.config.write_text(right.replace("registries", "registeries"))
    checked = story.run("check")
    assert checked.returncode == 78
    assert "did you mean registries?" in checked.stderr
    story.hurry()
    assert b"MONOTONIC_USEC=" in systemd.read_until(b"RELOADING=1")
    systemd.read_until(b"READY=1")
    story.until(lambda: story.keeper.document["problem"], "the problem")
    assert "registeries" in story.keeper.document["problem"]["message"]
    story.problem = True
    story.hold()
    story.keeper.config.write_text(right)
    story.problem = False
    story.mended()


@row(
    "E5",
    provoked="a thousand SIGHUPs within a second, while AWS is being asked",
    holds="they come to a few reloads, the last settings are in force, AWS is not asked a thousand times",
)
def test_e5_a_storm_of_reloads(story, systemd):
    with story.aws.fault(HANG):
        story.start()
        story.until(story.calls, "the question")
        for _ in range(1000):
            story.keeper.process.send_signal(signal.SIGHUP)
        story.sections["boot"] = {"ready": "all"}
        story.write()
        story.hurry()
        story.until(lambda: sound_is_in_place(story), "the other login")
    story.hurries += 10
    story.settle()
    assert len(story.aws.calls(service="ecr")) <= 12
    said = systemd.read_until(b"READY=1")
    story.stop()
    said += systemd.read_until(b"STOPPING=1")
    assert said.count(b"RELOADING=1") <= 12


@row(
    "E6",
    provoked="the settings are wrong when it starts; later they are right",
    holds="it does not exit (by the design: that would open the gate), says what is wrong, and goes on once the file "
    "is right",
)
def test_e6_wrong_settings_at_the_start(story, systemd):
    story.write()
    right = story.keeper.config.read_text()
    story.keeper.config.write_text(right.replace("[aws]", "[awz]"))
    story.start()
    said = systemd.read_until(b"EXTEND_TIMEOUT_USEC")
    assert b"STATUS=bad settings: " in said
    assert b"READY=1" not in said
    assert story.keeper.document["problem"]["code"] == "bad_settings"
    assert story.run("status").returncode == 1
    assert story.aws.calls() == []

    story.keeper.config.write_text(right)

    story.settle()
    assert b"bad settings" not in systemd.read_until(b"READY=1").rpartition(b"STATUS=")[2]
    assert story.log.count("settings.refused") == 1


@row(
    "E7",
    provoked="a second daemon is started on the same state directory",
    holds="it exits 75 and names the first; `ecrlogind login` asks that one for a pass instead",
)
def test_e7_two_daemons(story):
    story.start().settle()
    second = story.run("run")
    assert second.returncode == 75
    assert str(story.pid) in second.stderr
    login = story.run("login")
    assert login.returncode == 0
    assert story.keeper.document["pid"] == story.pid
    assert len(story.aws.calls(service="ecr")) == 2


@row(
    "E8",
    provoked="the daemon hangs (SIGSTOP), so that no watchdog is petted; systemd's SIGABRT and restart follow",
    holds="every thread's stack is in the log, with no value in it; the next one asks AWS for nothing",
    instead="The signals are the test's; tests/system/test_operations.py has systemd send them on a booted host.",
)
def test_e8_a_daemon_that_hangs(story, systemd):
    story.start()
    systemd.read_until(b"READY=1")
    story.settle()
    systemd.read_until(b"WATCHDOG=1")
    asked = len(story.aws.calls(service="ecr"))
    story.keeper.process.send_signal(signal.SIGSTOP)
    story.until(lambda: state_of(story.pid) == "T", "a daemon that is stopped")
    systemd.drain()
    with pytest.raises(TimeoutError):
        systemd.read_until(b"WATCHDOG=1", patience=3)
    story.keeper.process.send_signal(signal.SIGABRT)
    story.keeper.process.send_signal(signal.SIGCONT)
    assert story.keeper.process.wait(30) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in story.log
    story.start().settle()
    assert len(story.aws.calls(service="ecr")) == asked


@row(
    "E9",
    provoked="the clock jumps a day ahead, and two back, under a watchdog",
    holds="the watchdog is petted all the same",
)
def test_e9_a_clock_that_jumps_under_the_watchdog(story, systemd):
    need(glob.glob(FAKETIME), "libfaketime")
    clocks = Sleeper(story.keeper)
    story.keeper.environment["NOTIFY_SOCKET"] = systemd.path
    story.start()
    systemd.read_until(b"READY=1")
    story.settle()
    for step in ("+86400", "-86400"):
        clocks.set_wall(step)

        def shown(step=step):
            there = datetime.fromisoformat(story.keeper.document["updated_at"])
            return abs(there - datetime.now(UTC) - timedelta(seconds=int(step))) < timedelta(minutes=1)

        story.until(shown, "the new time")
        started = time.monotonic()
        for _ in range(3):
            systemd.read_until(b"WATCHDOG=1")
        assert time.monotonic() - started < 15


@row(
    "E10",
    provoked="the notify socket is missing, abstract, or full",
    holds="nothing waits for it; READY is told once there is room",
)
@pytest.mark.parametrize("kind", ["missing", "abstract", "full"])
def test_e10_notify_sockets(story, systemd, kind):
    with contextlib.ExitStack() as opened:
        heard = systemd
        if kind == "missing":
            story.keeper.environment["NOTIFY_SOCKET"] = str(story.directory / "nobody")
        elif kind == "abstract":
            name = f"ecrlogind-test-{os.getpid()}-{os.urandom(4).hex()}"
            heard = NotifySocket(f"\0{name}")
            opened.callback(heard.close)
            story.keeper.environment["NOTIFY_SOCKET"] = f"@{name}"
        else:
            other = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            other.setblocking(False)
            other.connect(systemd.path)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.send(b"X=1")
        story.start().settle()
        if kind != "missing":
            said = heard.read_until(b"READY=1")
            assert b"STATUS=4 of 4 logins in place" in said
            # What was not said before is not said twice now.
            assert said.count(b"READY=1") == 1


@row(
    "E11",
    provoked="nobody reads the log's pipe until it is full, and then its reader goes away",
    holds="it costs lines and nothing else: passes go on, nothing blocks",
    instead="A pipe stands in for the journal; tests/system/test_operations.py stops a real journald.",
)
def test_e11_a_log_that_takes_nothing(story):
    pipe = story.directory / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(reader, b"x" * 4096)
        story.start(prefix=["sh", "-ec", f'exec "$@" >{pipe} 2>&1', "sh"]).settle()
        story.put(FOREIGN)
        story.until(lambda: SOUND in story.keeper.auths(), "the login, put back")
    finally:
        os.close(reader)
    story.put(FOREIGN)
    story.until(lambda: SOUND in story.keeper.auths(), "the login, put back without a reader")
    pipe.unlink()


def counted(pid):
    """Return what a process has open: descriptors, threads, children; and its memory, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), memory


@row(
    "E12",
    provoked="renewals one after another, as fast as they go",
    holds="no descriptor, thread, child or temporary file more, and no more than 2 MiB of memory",
)
def test_e12_nothing_leaks(story):
    story.affects(VICTIM, SOUND)
    story.sections["check"] = {"every": "1s"}
    story.start().settle()

    def renew(rounds):
        for _ in range(rounds):
            before = story.password()
            story.aws.revoke()
            story.until(lambda before=before: story.password() != before, "a renewal")
        story.settle()
        return counted(story.pid)

    before = renew(2)
    after = renew(4)
    # A check may be under way at either moment.
    story.until(lambda: counted(story.pid)[:2] <= before[:2], f"no more than {before} is open, after {after}")
    assert counted(story.pid)[2] - before[2] <= 2048


@row(
    "E13",
    provoked="no process and no thread can be started: clone meets with EAGAIN, as under TasksMax",
    holds="the daemon lives, tells `no_process`, tries again later; logged in once there is room",
)
def test_e13_no_process_can_be_started(story):
    need(shutil.which("strace"), "strace")
    story.affects(destination="one")
    story.start().settle()
    calls = "fork,vfork,clone,clone3"
    strace = subprocess.Popen(
        [*meeting(calls, "error=EAGAIN"), "-f", "-p", str(story.pid)],
    )
    try:

        def refused():
            if SOUND in story.keeper.auths():
                story.put(FOREIGN)  # it takes a moment until strace has hold of every thread
            return story.error(SOUND, "one")["code"] == "no_process"

        story.until(refused, "the refusal")
        story.fails("no_process", "cannot start a")
    finally:
        strace.terminate()
        strace.wait()
    story.mended()


@row(
    "E14",
    provoked="the OOM killer takes the issuer, and then the daemon itself",
    holds="the one costs a try; after the other systemd's restart finds everything that is held, and AWS is not asked",
    instead="SIGKILL is what the OOM killer sends; who sends it nobody can tell.",
)
def test_e14_killed_for_memory(story):
    with story.aws.fault(HANG):
        story.start()
        story.until(story.calls, "the question")
        for issuer in children(story.pid, "ecrlogind.issuer"):
            os.kill(issuer, signal.SIGKILL)
        story.refuses("issuer_failed")
    story.mended()
    asked = len(story.aws.calls(service="ecr"))
    story.crash()
    story.settle()
    assert len(story.aws.calls(service="ecr")) == asked


@row(
    "E15",
    provoked="a user cannot reach the interpreter, as in a virtual environment below /root",
    holds="told as `interpreter_unreachable` with what to do; everybody else is served",
)
def test_e15_an_interpreter_out_of_reach(story, user, couriers):
    story.directory.chmod(0o700)
    story.admit(user)
    story.start()
    story.fails("interpreter_unreachable", "/opt/ecrlogind", destination="theirs")


@row(
    "E16",
    provoked="a courier dies of a bug: a traceback, and no report",
    holds="its file alone is failed, with the bug's last line; the daemon lives and tries again",
)
def test_e16_a_bug_in_a_courier(story, couriers):
    story.affects(VICTIM, SOUND)
    bug = 'printf "Traceback (most recent call last):\\n  File x\\nKeyError: nothing\\n" >&2; exit 1'
    couriers.instead(bug)
    story.start().fails("courier_failed", "KeyError: nothing")
    story.hindered.update(story.labels.values())
    story.hold()
    couriers.as_it_is()
    story.mended()


@row(
    "E17",
    provoked="the state directory is another version's: held credentials, status and lock that it cannot read",
    holds="what cannot be read is thrown away and asked for anew, once; nothing is guessed at",
)
def test_e17_another_version_s_state(story):
    story.start().settle()
    story.stop()
    story.ends_with = None
    held = sorted((story.keeper.state / "credentials").iterdir())
    assert held
    for path in held:
        path.write_text('{"version": 99}\n')
    (story.keeper.state / "credentials" / "of-another-version.db").write_bytes(b"\0\1\2")
    (story.keeper.state / "status.json").write_text('{"version": 99, "pid": 1}')
    asked = len(story.aws.calls(service="ecr"))
    story.start().settle()
    assert len(story.aws.calls(service="ecr")) == asked + 2
