"""A real dockerd for a test session, shared by its workers, that leaves the host as it was.

It runs in its own mount and PID namespaces (`dockerd.sh`), and for as long as a worker holds the lock on its `users`
file: when the last one ends, even by SIGKILL, it goes and takes its containers and files along.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.need import need

START_DEADLINE = 60


@dataclass(frozen=True, slots=True)
class Dockerd:
    """One running dockerd. *home* holds all that is its own."""

    home: Path

    @property
    def host(self):
        """What `docker -H` and DOCKER_HOST take."""
        return f"unix://{self.home}/docker.sock"

    @property
    def proc(self):
        """Its /proc: the process ids that it speaks of are those of its own namespace."""
        unshare = int((self.home / "pid").read_text())
        [init] = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
        return Path(f"/proc/{init}/root/proc")

    def docker(self, *arguments, check=True, **options):
        """Run the real docker command line against it; return the CompletedProcess, its output as text."""
        options = {"capture_output": True, "text": True, "timeout": 100, **options}
        done = subprocess.run(["docker", "-H", self.host, *map(str, arguments)], check=False, **options)
        if check and done.returncode:
            raise AssertionError(f"docker {' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr}")
        return done


@contextmanager
def running(meeting_place):
    """Run one dockerd for all who name the same directory *meeting_place*, until the last of them leaves."""
    need(os.geteuid() == 0, "root")
    for program in ("dockerd", "docker", "unshare", "flock"):
        need(shutil.which(program), program)
    with _joined(Path(meeting_place)) as home:
        dockerd = Dockerd(home)
        _wait_until_it_answers(dockerd)
        yield dockerd


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory, worker_id):
    """Yield the session's dockerd, one for all workers."""
    base = tmp_path_factory.getbasetemp()
    with running(base if worker_id == "master" else base.parent) as dockerd:
        yield dockerd


@contextmanager
def _joined(meeting_place):
    """Yield the home of the running dockerd after having become one of its users; start it if there is none."""
    pointer = meeting_place / "dockerd.json"
    with _locked(meeting_place / "dockerd.lock"):
        home = Path(json.loads(pointer.read_text())) if pointer.exists() else None
        users = _become_user(home) if home else None
        if users is None:
            # Below /tmp, since a socket's path must be short, and other users than root must be able to enter.
            home = Path(tempfile.mkdtemp(prefix="ecrlogind-dockerd-", dir="/tmp"))
            home.chmod(0o755)
            (home / "users").touch()
            users = _become_user(home)
            _start(home)
            pointer.write_text(json.dumps(str(home)))
    try:
        yield home
    finally:
        os.close(users)


def _become_user(home):
    """Return a descriptor that keeps the dockerd of *home* running while it is open; None if that one is going."""
    try:
        users = os.open(home / "users", os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        os.close(users)
        return None
    return users


def _start(home):
    script = Path(__file__).with_name("dockerd.sh")
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    # In a session of its own and nobody's child: it belongs to all workers, and ends when they let go of the lock.
    with (home / "errors").open("w") as errors:
        leave_pid = f'echo $$ > {home}/pid; exec "$@"'
        command = ["setsid", "--fork", "sh", "-c", leave_pid, "sh", *namespaces, "sh", script, home]
        subprocess.run(command, check=True, stderr=errors, cwd="/")


def _wait_until_it_answers(dockerd):
    deadline = time.monotonic() + START_DEADLINE
    while dockerd.docker("version", check=False).returncode:
        if time.monotonic() > deadline:
            said = [(dockerd.home / name).read_text()[-2000:] for name in ("errors", "log")]
            raise AssertionError("dockerd does not answer: " + "\n".join(said))
        time.sleep(0.1)


@contextmanager
def _locked(path):
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
