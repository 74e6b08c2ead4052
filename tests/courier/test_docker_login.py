"""The courier that lets docker write: what it asks the store, when it leaves docker alone, what failures are called.

The store is a real helper by Docker's protocol, a script that keeps one file for each host. docker itself is a script
too where only its words count; tests/process/test_docker_login.py has the real one.
"""

import base64
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from ecrlogind.core.codec import decode, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.dockerconfig import digest
from ecrlogind.core.wire import Errand, Found, Report, Was
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.programs import Programs
from ecrlogind.courier.refused import RefusedError

HOST = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
PASSWORD = "p" * 200 + "=="

# A store that keeps what it is given in files, and says what clients look for.
KEEP = """#!/bin/sh
cd "$HOME/kept" || exit 1
read -r server
case $1 in
    get) cat "$server" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    *) echo "$1" >>../log; exit 1 ;;
esac
"""


def auth(password, user="AWS"):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Home:
    """The home of whoever runs the tests, as far as the courier is told."""

    def __init__(self, path):
        self.path = path
        self.config = path / ".docker" / "config.json"
        self.bin = path / ".local" / "bin"
        self.kept = path / "kept"
        for each in (self.config.parent, self.bin, self.kept):
            each.mkdir(parents=True)
        self.program("docker-credential-keep", KEEP)
        self.configure(credsStore="keep")

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def configure(self, **keys):
        self.config.write_text(json.dumps(keys))

    def keep(self, host, password, user="AWS"):
        kept = {"ServerURL": host, "Username": user, "Secret": password}
        (self.kept / host).write_text(json.dumps(kept))

    def errand(self, logins=None, *, deadline=10, **more):
        logins = {HOST: PASSWORD} if logins is None else logins
        return Errand(
            str(self.config),
            str(self.path),
            {host: Secret(auth(password)) for host, password in logins.items()},
            timedelta(seconds=deadline),
            **more,
        )

    def send(self, logins=None, **more):
        """Send the courier as the keeper does; return its report and the descriptor that came along, if any."""
        ours, its = socket.socketpair()
        command = [sys.executable, "-I", "-m", "ecrlogind.courier.dockerlogin"]
        with ours:
            with its:
                process = subprocess.Popen(
                    command, stdin=its, stdout=its, stderr=subprocess.PIPE, cwd="/", env={}, start_new_session=True
                )
            errand = self.errand(logins, **more)
            ours.sendall(encode(errand))
            line, descriptors, _, _ = socket.recv_fds(ours, 1 << 16, 4)
            while not line.endswith(b"\n") and (more_of_it := ours.recv(1 << 16)):
                line += more_of_it
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        return decode(Report, line).full(errand), *descriptors


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_docker_is_left_alone_where_the_store_has_our_login_already(home):
    home.keep(HOST, PASSWORD)

    [report] = home.send()

    assert report == Report({HOST: Found(Was.OURS, is_ours=True)})


def test_docker_is_left_alone_where_the_file_without_a_store_has_our_login_already(home):
    home.configure(auths={HOST: {"auth": auth(PASSWORD)}})

    [report] = home.send()

    assert report == Report({HOST: Found(Was.OURS, is_ours=True)})


@pytest.mark.parametrize("way", ["of its own", "none"])
def test_the_store_of_a_host_is_asked_before_the_store_of_all(home, way):
    home.program("docker-credential-other", KEEP.replace("$HOME/kept", "$HOME/others"))
    (home.path / "others").mkdir()
    home.configure(
        credsStore="keep",
        credHelpers={HOST: "other" if way == "of its own" else ""},
        auths={HOST: {"auth": auth(PASSWORD)}},
    )
    home.keep(HOST, "of another")
    if way == "of its own":
        (home.path / "others" / HOST).write_text((home.kept / HOST).read_text().replace("of another", PASSWORD))

    [report] = home.send()

    assert report.found[HOST].was is Was.OURS


def test_somebody_else_s_login_in_the_store_stays_and_is_told_as_foreign(home):
    home.keep(HOST, "the job's", "job")

    [report] = home.send(delivered={HOST: (digest(auth("earlier")),)})

    foreign = digest(auth("the job's", "job"))
    assert report == Report({HOST: Found(Was.FOREIGN, is_ours=False, digest=foreign)})


def test_an_identity_token_in_the_store_is_somebody_else_s_login(home):
    home.keep(HOST, "a token", "<token>")

    [report] = home.send()

    assert report.found[HOST].was is Was.FOREIGN
    assert not report.found[HOST].is_ours


def test_what_is_not_ours_is_not_taken_out(home):
    home.keep(HOST, "the job's", "job")

    [report] = home.send({}, remove=(HOST, OTHER), delivered={HOST: (digest(auth("earlier")),)})

    assert {host: found.was for host, found in report.found.items()} == {HOST: Was.FOREIGN, OTHER: Was.ABSENT}
    assert report.refusal is None
    assert (home.kept / HOST).exists()


def test_a_config_that_is_broken_is_left_to_its_owner_and_never_handed_to_docker(home):
    home.config.write_text('{"auths": {')

    [report] = home.send()

    assert report.refusal.code == "invalid_json"
    assert home.config.read_text() == '{"auths": {'


def test_a_helper_that_is_not_there_has_a_name(home):
    home.configure(credsStore="nowhere")

    [report] = home.send()

    assert report.refusal.code == "no_store"
    assert "docker-credential-nowhere is not there for user " in report.refusal.message


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("exit status 2: gpg: decryption failed: No pinentry", "store_locked"),
        ("exit status 2: gpg: public key decryption failed: Inappropriate ioctl for device", "store_locked"),
        ("Cannot autolaunch D-Bus without X11 $DISPLAY", "store_locked"),
        ("pass not initialized: exit status 1: Error: password store is empty", "store_failed"),
        ("gpg: decryption failed: No secret key", "store_locked"),
        ("something else", "store_failed"),
    ],
)
def test_a_store_that_does_not_answer_says_why(home, said, code):
    home.program("docker-credential-keep", f"#!/bin/sh\necho '{said}'\nexit 1\n")

    [report] = home.send()

    assert (report.refusal.code, report.refusal.message) == (code, f"docker-credential-keep: {said}")
    assert report.found == {}


@pytest.mark.parametrize("answer", ["", "nonsense", "[]", '{"Username": "u"}', "\\377\\376"])
def test_an_answer_that_is_none_is_a_failure_of_the_store(home, answer):
    home.program("docker-credential-keep", f"#!/bin/sh\nprintf '{answer}'\n")

    [report] = home.send()

    assert report.refusal.code == "store_failed"
    assert report.refusal.message == "docker-credential-keep: no answer that can be read"


def test_an_empty_answer_means_that_there_is_none(home):
    home.program("docker-credential-keep", """#!/bin/sh\necho '{"ServerURL":"","Username":"","Secret":""}'\n""")

    [report] = home.send({}, remove=(HOST,))

    assert report == Report({HOST: Found(Was.ABSENT, is_ours=False)})


def test_a_store_that_hangs_is_given_up_before_the_keeper_would_end_the_courier(home):
    home.program("docker-credential-keep", "#!/bin/sh\nexec sleep 300\n")
    began = time.monotonic()

    [report] = home.send(deadline=1)

    assert report.refusal.code == "deadline"
    assert "docker-credential-keep get did not end in time" in report.refusal.message
    assert time.monotonic() - began < 60


def test_one_host_s_store_in_trouble_keeps_no_other_host_from_its_login(home):
    home.configure(credsStore="keep", credHelpers={HOST: "nowhere"})
    home.keep(OTHER, PASSWORD)

    [report] = home.send({HOST: PASSWORD, OTHER: PASSWORD})

    assert report.refusal.code == "no_store"
    assert report.found == {OTHER: Found(Was.OURS, is_ours=True)}


def test_two_couriers_of_one_user_do_not_run_docker_at_the_same_time(home):
    home.keep(HOST, PASSWORD)
    directory = os.open(home.config.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)

    [report] = home.send(deadline=1)
    assert report.refusal.code == "contended"

    os.close(directory)
    assert home.send()[0].refusal is None


def test_the_watch_tells_when_docker_writes_the_config(home):
    home.keep(HOST, PASSWORD)

    report, descriptor = home.send(watch=True)

    assert report.refusal is None
    assert select.select([descriptor], [], [], 0)[0] == []
    beside = home.config.with_name("config.json123")
    beside.write_text("{}")
    beside.rename(home.config)
    assert select.select([descriptor], [], [], 20)[0] == [descriptor]
    os.close(descriptor)


def test_helpers_get_the_user_s_home_and_nothing_else_of_anybody_s_environment(home):
    home.program("docker-credential-keep", '#!/bin/sh\nenv >"$HOME/seen"\necho nothing\nexit 1\n')

    home.send()

    seen = dict(line.split("=", 1) for line in (home.path / "seen").read_text().splitlines())
    assert seen["HOME"] == str(home.path)
    assert seen["DOCKER_CONFIG"] == str(home.config.parent)
    assert seen["PATH"].endswith(f"{home.path}/.local/bin:{home.path}/bin")
    known = {"PATH", "HOME", "DOCKER_CONFIG", "USER", "LOGNAME", "LC_ALL", "XDG_RUNTIME_DIR", "PWD", "SHLVL", "_"}
    assert set(seen) <= known | {"DBUS_SESSION_BUS_ADDRESS"}


def programs(home, path="{home}/.local/bin:/bin"):
    return Programs(str(home.path), Deadline(timedelta(seconds=20)), path)


# What docker said, by version where it differs, and what it means.
SAID = {
    'Error response from daemon: Get "https://h/v2/": unauthorized: authentication required': "login_refused",
    "Error response from daemon: login attempt to https://h/v2/ failed with status: 400 Bad Request": "login_refused",
    'Error response from daemon: Get "https://h/v2/": dial tcp: lookup h: no such host': "registry_unreachable",
    'Error response from daemon: Get "https://h/v2/": net/http: request canceled (Client.Timeout exceeded)': (
        "registry_unreachable"
    ),
    "Error saving credentials: error storing credentials - err: exit status 1, out: `exit status 2: gpg: cancelled`": (
        "store_locked"
    ),
    'error getting credentials - err: exec: "docker-credential-x": executable file not found in $PATH, out: ``': (
        "no_store"
    ),
    "Error saving credentials: open /home/x/.docker/config.json1: no space left on device": "store_failed",
    "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock": (
        "daemon_denied"
    ),
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?": "no_daemon",
    "unknown shorthand flag: x in -x": "docker_failed",
}


@pytest.mark.parametrize("said", SAID)
def test_what_docker_says_gets_a_name(home, said):
    home.program("docker", f"#!/bin/sh\ncat >/dev/null\necho '{said}' >&2\nexit 1\n")

    with pytest.raises(RefusedError) as caught:
        programs(home).login(HOST, auth(PASSWORD))

    assert caught.value.refusal.code == SAID[said]
    assert said in caught.value.refusal.message


def test_what_docker_says_is_told_without_secrets_in_plain_ascii_and_in_short(home):
    short = "kurz"
    lines = f"Error: \\033[31m{short} {auth(short)} {PASSWORD} {'x ' * 400}"
    home.program("docker", f"#!/bin/sh\nprintf '{lines}\\nmore {short}\\n' >&2\nexit 1\n")

    with pytest.raises(RefusedError) as caught:
        programs(home).login(HOST, auth(short))

    message = caught.value.refusal.message
    assert message.startswith("docker login: Error: ?[31m[...] [...] [...] x x ")
    assert len(message) < 400


def test_no_docker_has_a_name(home):
    with pytest.raises(RefusedError) as caught:
        programs(home, "{home}/.local/bin").login(HOST, auth(PASSWORD))

    assert caught.value.refusal.code == "no_docker"


def test_the_password_is_in_no_argument(home):
    home.program("docker", '#!/bin/sh\necho "$@" >"$HOME/arguments"; cat >"$HOME/stdin"\n')

    programs(home).login(HOST, auth(PASSWORD))

    assert (home.path / "arguments").read_text() == f"login --username AWS --password-stdin {HOST}\n"
    assert (home.path / "stdin").read_text() == PASSWORD
