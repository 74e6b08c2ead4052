"""Other programs write the file at the same moment, and lose nothing."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest

from ecrlogind.core.codec import decode, encode
from ecrlogind.core.dockerconfig import Trouble, digest
from ecrlogind.core.wire import Report
from tests.support.courier import DENIED, HOST, Home, auth, config, inject, naive, package, traced
from tests.support.need import need

pytestmark = pytest.mark.system

SLOW = 0.04
BURST = 20


class Couriers:
    """Couriers sent to one home in a loop, each with another password, so that each has something to write."""

    def __init__(self, home, slow=SLOW, program=None):
        self.home = home
        self.sent = 0
        self.reports = []
        self._program = program
        self._process = subprocess.Popen(
            [sys.executable, "-I", package() / "rounds.py", package(), str(slow), *home.deny],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _run(self):
        while not self._over.is_set():
            self.reports.append(self.send(f"round {self.sent}"))
            self.sent += 1

    def send(self, password, **more):
        errand = self.home.errand({HOST: password}, replace=(HOST,), deadline=20, **more)
        if self._program:
            done = subprocess.run(self._program, input=encode(errand), capture_output=True, check=False)
            return decode(Report, done.stdout) if done.stdout else None
        self._process.stdin.write(encode(errand))
        self._process.stdin.flush()
        return decode(Report, self._process.stdout.readline())


# --- the docker CLI


class Answers(BaseHTTPRequestHandler):
    """As much of dockerd as `docker login` asks for: it takes every login."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(b"")

    def do_GET(self):
        self._answer(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b'{"Status": "Login Succeeded", "IdentityToken": ""}')

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Api-Version", "1.47")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "docker"

    def log_message(self, *_):
        pass


class Daemon(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def docker(tmp_path):
    """Return what runs the real docker CLI on a home."""
    need(shutil.which("docker"), "the docker CLI")
    socket = Path(f"/tmp/ecrlogind-{os.getpid()}-{threading.get_ident()}.sock")
    with Daemon(str(socket), Answers) as daemon:
        threading.Thread(target=daemon.serve_forever, daemon=True).start()

        def run(home, *arguments, **more):
            environment = {"HOME": str(tmp_path), "DOCKER_HOST": f"unix://{socket}", "PATH": os.environ["PATH"]}
            subprocess.run(
                ["docker", "--config", home.docker, *arguments],
                check=True,
                capture_output=True,
                env=environment,
                **more,
            )

        try:
            yield run
        finally:
            daemon.shutdown()
            socket.unlink()


def lost_to(couriers, home, docker, operations):
    """Log out of so many hosts, and with each fifth of *operations* into another; return what of that was lost.

    Docker works in bursts, and after each a delivery gets through: a flush takes longer than docker needs, so without
    a pause the couriers would only ever start over, which loses nothing but shows nothing either.
    """
    home.write(config(**{f"out{n}.example": "x" for n in range(operations)}))
    for_login = range(0, operations, 5)
    with couriers:
        for n in range(operations):
            if n in for_login:
                docker(home, "login", "-u", "u", "--password-stdin", f"in{n}.example", input=f"p{n}".encode())
            else:
                docker(home, "logout", f"out{n}.example")
            if n % BURST == 0:
                sent = couriers.sent
                assert eventually(lambda sent=sent: couriers.sent > sent, within=30)
    done = home.auths()
    lost = [f"out{n}.example" for n in range(operations) if n not in for_login and f"out{n}.example" in done]
    lost += [f"in{n}.example" for n in for_login if done.get(f"in{n}.example") != f"p{n}"]
    print(f"{len(lost)} of {operations} lost to {couriers.sent} deliveries")  # noqa: T201  # the issue asks to see it
    assert couriers.sent >= operations // BURST
    return lost


@pytest.mark.parametrize("way", ["in-place", "rename"])
def test_a_naive_writer_does_lose_what_docker_writes(plain, docker, way):
    assert lost_to(Couriers(plain, program=naive(way)), plain, docker, 80)


@pytest.mark.timeout(900)
def test_docker_loses_no_login_and_no_logout_to_couriers_in_a_loop(tmp_path, docker):
    lose_nothing(tmp_path, docker, 2_000)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_docker_loses_nothing_in_ten_thousand_either(tmp_path, docker):
    lose_nothing(tmp_path, docker, 10_000)


def lose_nothing(place, docker, operations, at_once=200):
    """One home after the other, so that no file grows too long for docker to be quick."""
    for n in range(operations // at_once):
        home = Home(place / f"home{n}")
        home.path.mkdir(mode=0o700)
        assert lost_to(Couriers(home), home, docker, at_once) == []
        assert home.beside() == []
        assert HOST in home.auths()


@pytest.mark.parametrize("deny", [DENIED], indirect=True)
def test_without_an_exchange_docker_loses_next_to_nothing(home, docker):
    """What is lost is what falls between the second look and the rename; each report says that it may."""
    couriers = Couriers(home)

    lost = lost_to(couriers, home, docker, 100)

    assert len(lost) <= 5
    assert home.auths()[HOST]
    ways = {note.code for report in couriers.reports if report.changed for note in report.notes}
    assert ways == {Trouble.WEAKER_SWAP}


def test_docker_loses_nothing_when_each_exchange_is_held_up(plain, docker, tmp_path):
    """The instant between two exchanges, made long: what docker writes into it is carried over."""
    need(shutil.which("strace"), "strace")
    plain.write(config(**{f"out{n}.example": "x" for n in range(40)}))
    slow = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:delay_exit=60000")
    over = threading.Event()

    def deliver():
        n = 0
        while not over.is_set():
            plain.send({HOST: f"round {n}"}, replace=(HOST,), prefix=slow)
            n += 1

    thread = threading.Thread(target=deliver)
    thread.start()
    for n in range(40):
        docker(plain, "logout", f"out{n}.example")
    over.set()
    thread.join()

    assert list(plain.auths()) == [HOST]


def held_up(home, how, log):
    """Send a courier whose first exchange is held up; return the process once it has come there."""
    need(shutil.which("strace"), "strace")
    prefix = ("strace", "-qq", "-o", log, "-e", "trace=renameat2,openat", "-e", f"inject=renameat2:{how}:when=1")
    process = home.start(home.errand(deadline=30), prefix=prefix)
    # Its name says that it is about to be exchanged: NEW.OLD.RANDOM, and no more `new`.
    assert eventually(lambda: [name for name in home.beside() if ".new." not in name])
    return process


def put(home, text):
    """Write a config.json as docker does: beside, then a rename over."""
    (home.docker / "docker's").write_text(text)
    (home.docker / "docker's").rename(home.config)


def exchanges(log):
    return [line for line in log.read_text().splitlines() if "RENAME_EXCHANGE" in line]


def test_what_was_written_just_before_the_exchange_is_swapped_back_at_once(plain, tmp_path):
    plain.write(config(**{"quay.io": "x"}))
    process = held_up(plain, "delay_enter=700000", tmp_path / "log")

    put(plain, config(**{"ghcr.io": "x"}))
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert plain.auths() == {"ghcr.io": "x", HOST: "new"}
    assert plain.beside() == []
    first, second, third = exchanges(tmp_path / "log")
    calls = (tmp_path / "log").read_text().splitlines()
    # Between the two exchanges there is nothing but the look at what came out.
    assert [line.partition("(")[0] for line in calls[calls.index(first) + 1 : calls.index(second)]] == ["openat"]
    assert first.partition("=")[0] == second.partition("=")[0] != third.partition("=")[0]


def test_what_was_written_before_and_after_the_exchange_is_both_kept(plain, tmp_path):
    plain.write(config(**{"quay.io": "x", "gone.example": "x", "later.example": "x"}))
    process = held_up(plain, "delay_enter=700000:delay_exit=700000", tmp_path / "log")

    put(plain, config(**{"quay.io": "x", "later.example": "x"}))
    assert eventually(lambda: HOST in plain.auths())
    # Docker read ours, so the first change is not in what it writes now.
    ours = json.loads(plain.config.read_text())
    del ours["auths"]["later.example"]
    ours["auths"]["ghcr.io"] = {"auth": auth("x")}
    put(plain, json.dumps(ours))
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert plain.auths() == {"quay.io": "x", "ghcr.io": "x", HOST: "new"}
    assert plain.beside() == []


def test_a_file_that_is_removed_after_the_exchange_was_removed_on_purpose(plain, tmp_path):
    plain.write(config(**{"quay.io": "x"}))
    process = held_up(plain, "delay_enter=700000:delay_exit=700000", tmp_path / "log")

    put(plain, config(**{"ghcr.io": "x"}))
    assert eventually(lambda: HOST in plain.auths())
    plain.config.unlink()
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert plain.auths() == {HOST: "new"}
    assert plain.beside() == []


def test_a_writer_that_opened_it_in_the_very_moment_of_the_lease_is_still_merged(plain, tmp_path):
    """It found the old inode by its name, and waits for the lease to go while that name is unlinked."""
    plain.write(config(**{"quay.io": "before"}))
    # A second name of the same inode plays the part of a lookup that was made in time.
    process = held_up(plain, "delay_enter=300000", tmp_path / "log")
    process.communicate(timeout=30)

    plain.write(config(**{"quay.io": "before"}))
    os.link(plain.config, plain.path / "found before")
    need(shutil.which("strace"), "strace")
    slow = (
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=unlinkat",
        "-e",
        "inject=unlinkat:delay_enter=1500000:when=1",
    )
    process = plain.start(plain.errand(deadline=30), prefix=slow)
    assert eventually(lambda: HOST in plain.auths() and plain.beside())
    # Open for writing while the lease is held: the kernel lets it wait.
    time.sleep(0.3)
    (plain.path / "found before").write_text(config(**{"quay.io": "after"}))
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert plain.auths() == {"quay.io": "after", HOST: "new"}
    assert plain.beside() == []


def test_a_directory_that_is_removed_under_a_courier_is_made_again(plain, tmp_path):
    plain.write(config(**{"quay.io": "x"}))
    process = held_up(plain, "delay_enter=700000", tmp_path / "log")

    shutil.rmtree(plain.docker)
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert plain.auths() == {HOST: "new"}


# --- writers that open the file in place


@pytest.fixture(params=["ext4", "tmpfs", "overlay"])
def somewhere(request, tmp_path, mounted, deny):
    """Return a home on one file system after the other."""
    where = tmp_path / "mounted"
    where.mkdir()
    if request.param == "ext4":
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        arguments = ["-o", "loop", image, where]
    elif request.param == "tmpfs":
        arguments = ["-t", "tmpfs", "tmpfs", where]
    else:
        for name in ("base", "lower", "upper", "work"):
            (tmp_path / "o" / name).mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path / "o"], check=True)
        for name in ("lower", "upper", "work"):
            (tmp_path / "o" / name).mkdir()
        (tmp_path / "o" / "lower" / ".docker").mkdir(mode=0o700)
        (tmp_path / "o" / "lower" / ".docker" / "config.json").write_text("{}")
        layers = ",".join(f"{name}dir={tmp_path}/o/{name}" for name in ("lower", "upper", "work"))
        arguments = ["-t", "overlay", "-o", layers, "overlay", where]
    with contextlib.ExitStack() as undo:
        if request.param == "overlay":
            undo.callback(subprocess.run, ["umount", "--lazy", tmp_path / "o"], check=True)
        undo.enter_context(mounted(*arguments))
        yield Home(where, deny=deny)


def test_what_is_written_in_place_is_never_lost(somewhere):
    """Writers that know nothing of each other's programs: `>` and `tee` of whole files, one after the other."""
    somewhere.write("{}")
    lost = 0
    with Couriers(somewhere, slow=0.01):
        for n in range(60):
            text = config(**{"quay.io": f"write {n}"})
            with_tee = n % 2
            command = ["tee", somewhere.config] if with_tee else ["sh", "-c", f"cat > '{somewhere.config}'"]
            subprocess.run(command, input=text.encode(), check=True, stdout=subprocess.DEVNULL)
            lost += not eventually(lambda n=n: somewhere.auths().get("quay.io") == f"write {n}")

    assert lost == 0
    assert eventually(lambda: somewhere.send().refusal is None and HOST in somewhere.auths())
    assert somewhere.beside() == []


def eventually(condition, within=10):
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(ValueError, KeyError, FileNotFoundError):
            if condition():
                return True
        time.sleep(0.002)
    return False


@pytest.mark.parametrize("deny", [()], indirect=True)
def test_a_writer_that_has_it_open_is_waited_for_and_its_result_is_merged(somewhere):
    somewhere.write(config(**{"quay.io": "before"}))
    writer = somewhere.config.open("r+")
    process = somewhere.start(somewhere.errand(deadline=30))
    assert eventually(lambda: somewhere.auths().get(HOST) == "new")

    writer.write(config(**{"quay.io": "after"}))
    writer.truncate()
    writer.close()
    out, _ = process.communicate(timeout=30)

    report = decode(Report, out)
    assert report.refusal is None
    assert report.notes == ()
    assert somewhere.auths() == {"quay.io": "after", HOST: "new"}
    assert somewhere.beside() == []


@pytest.mark.parametrize("deny", [()], indirect=True)
def test_a_writer_that_outlasts_the_deadline_is_merged_by_a_later_courier(somewhere):
    somewhere.write(config(**{"quay.io": "before"}))
    writer = somewhere.config.open("r+")

    report = somewhere.send(deadline=1)

    [left] = somewhere.beside()
    [note] = report.notes
    assert (note.code, left in note.message) == (Trouble.LEFT_BESIDE, True)
    assert report.refusal is None
    assert somewhere.auths() == {"quay.io": "before", HOST: "new"}

    # Two more couriers, one of them with a renewal: it stays, and its writer's result is merged into what stands then.
    assert [note.code for note in somewhere.send(deadline=1).notes] == [Trouble.LEFT_BESIDE]
    somewhere.send({HOST: "newer"}, delivered={HOST: (digest(auth("new")),)}, deadline=1)
    assert len(somewhere.beside()) == 1
    writer.write(json.dumps({"auths": {"ghcr.io": {"auth": auth("after")}}}))
    writer.truncate()
    writer.close()
    report = somewhere.send({HOST: "newer"}, deadline=5)

    assert somewhere.auths() == {"ghcr.io": "after", HOST: "newer"}
    assert somewhere.beside() == []
    assert report.changed


def test_what_a_late_writer_leaves_unreadable_stays_beside_and_is_named(plain):
    plain.write("{}")
    writer = plain.config.open("r+")
    plain.send(deadline=1)
    writer.write("no json")
    writer.close()

    report = plain.send()

    assert [note.code for note in report.notes] == [Trouble.LEFT_BESIDE]
    assert len(plain.beside()) == 1
    assert plain.auths() == {HOST: "new"}


def test_half_a_file_is_waited_for(home):
    home.write(config(**{"quay.io": "before"}))
    text = config(**{"quay.io": "after"})
    writer = home.config.open("w")
    writer.write(text[:20])
    writer.flush()
    process = home.start(home.errand(deadline=30))

    time.sleep(0.3)  # time to look at it; a courier that is quicker or slower must come to the same
    writer.write(text[20:])
    writer.close()
    out, _ = process.communicate(timeout=30)

    assert decode(Report, out).refusal is None
    assert home.auths() == {"quay.io": "after", HOST: "new"}


# --- two couriers, and what stands beside


def test_many_couriers_at_once_lose_nothing_of_each_other(plain):
    hosts = [f"{n:012}.dkr.ecr.eu-west-1.amazonaws.com" for n in range(8)]

    processes = [plain.start(plain.errand({host: host}, deadline=30)) for host in hosts]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert decode(Report, out).refusal is None, err

    assert plain.auths() == {host: host for host in hosts}
    assert plain.beside() == []


def test_a_file_that_only_looks_like_ours_is_not_swept(home):
    home.write("{}")
    prefix = ".ecrlogind."
    others = [f"{prefix}x", f"{prefix}00000000.new.0123456789abcdef", "config.json123"]
    for name in others:
        (home.docker / name).write_text("theirs")
    (home.docker / f"{prefix}587cb980.new.0123456789abcdef").mkdir()

    home.send()

    assert set(others) <= set(home.beside())
    assert f"{prefix}587cb980.new.0123456789abcdef" in home.beside()


def test_while_another_courier_may_be_at_work_only_old_leftovers_are_swept(home):
    home.write("{}")
    young, old = (home.docker / f".ecrlogind.587cb980.new.{n:016x}" for n in range(2))
    for each in (young, old):
        each.write_text("half")
    os.utime(old, (time.time() - 3600,) * 2)
    directory = os.open(home.docker, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)

    home.send()
    assert home.beside() == [young.name]

    os.close(directory)
    home.send()
    assert home.beside() == []


def test_what_a_courier_is_about_to_exchange_is_not_swept_by_a_later_one(plain, tmp_path):
    plain.write("{}")
    directory = os.open(plain.docker, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_SH)  # one that was at work before both
    process = held_up(plain, "delay_enter=1500000", tmp_path / "log")
    os.close(directory)
    [about_to_be_exchanged] = plain.beside()

    plain.send({HOST: "from the later one"})

    assert about_to_be_exchanged in plain.beside()
    process.communicate(timeout=30)
    assert plain.beside() == []


def test_without_leases_the_outcome_says_so(plain):
    need(shutil.which("strace"), "strace")
    plain.write("{}")
    # F_SETLEASE is the first fcntl that asks a file system for something; where there are none it says EINVAL.
    log = plain.path / "log"
    ordinal = next(n for name, n, line in traced(plain, log) if name == "fcntl" and "F_SETLEASE" in line)
    plain.write("{}")

    report = plain.send(prefix=inject("fcntl", "error=EINVAL", ordinal))

    assert [note.code for note in report.notes] == [Trouble.NO_LEASE]
    assert plain.auths() == {HOST: "new"}


@pytest.mark.parametrize("error", ["ENOSYS", "EINVAL", "EPERM"])
def test_without_an_exchange_the_weaker_way_is_taken_and_said(plain, error):
    home = Home(plain.path, deny=(f"renameat2:{error}",))
    home.write(config(**{"quay.io": "x"}))

    report = home.send()

    assert [note.code for note in report.notes] == [Trouble.WEAKER_SWAP]
    assert home.auths() == {"quay.io": "x", HOST: "new"}


def test_a_first_file_needs_no_exchange_to_be_written_safely(home):
    assert home.send().notes == ()
