"""Settings that are wrong, and commands that are used wrongly, as somebody at a shell meets them."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.test_settings import EVERYTHING
from tests.support.keeper import Keeper, until
from tests.support.people import installation, person

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
COMMANDS = ("check", "run", "login")

MANY_MISTAKES = """\
registeries = ["self"]
registries = ["registry.example.org", "self"]
destinations = []
log = 5

[boot]
ready = "setled"
timeout = "1min"
destinatons = [{ user = "root" }]
destinations = [{ user = "root" }]

[renew]
at = "half"
"""

# What was written, in which file, with which key, and what is to be said of it.
ALL_OF_THEM = {
    "registeries": "did you mean registries?",
    "registries[0]": "'registry.example.org'",
    "destinations": "is an empty list",
    "log": "must be a text, not a number",
    "boot.ready": 'did you mean "settled"?',
    "boot.destinatons": "did you mean destinations",
    "boot.destinations": "move it above the first [table]",
    "renew.at": "must be a number, not a text",
}


class Host(Keeper):
    """A host without an AWS: nothing here gets so far as to ask it."""

    def __init__(self, directory):
        super().__init__(directory, None)

    def try_settings(self, command, text):
        self.config.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = self.run(command)
        assert done.returncode == 78, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def host(private_path):
    one = Host(private_path)
    yield one
    one.end()


@pytest.mark.parametrize("command", COMMANDS)
def test_all_that_is_wrong_is_said_in_one_go_with_file_key_and_what_would_be_right(host, command):
    drop_in = host.directory / "config.d" / "10-more.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[[destinations]]\nuser = "no good name"\nmode = 640\n')

    said = host.try_settings(command, MANY_MISTAKES)

    for key, words in ALL_OF_THEM.items():
        [about] = [problem for problem in problems(said, command) if f"{host.config}: {key}: " in problem]
        assert words in about, about
    for key, words in {"user": "did you mean", "mode": '"0640"'}.items():
        [about] = [problem for problem in problems(said, command) if f"{drop_in}: destinations[0].{key}: " in problem]
        assert words in about, about
    assert len(problems(said, command)) == len(ALL_OF_THEM) + 2


def problems(said, command):
    """Return what is said of each problem: the log has one a line, the other commands one in two lines."""
    if command == "run":
        return [line.replace('\\"', '"') for line in said.splitlines() if "settings.refused" in line]
    return re.findall(r"^/.*\n  .*$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "what", "to_do"),
    [
        (b"\xef\xbb\xbfregistries = ['self']", "begins with a byte order mark", "save it as UTF-8 without BOM"),
        ("registries = [{ account = 'self',\n region = 'self' }]", "line 1", "a table in { } has to stand in one line"),
        ("[[destinations]]\npath = '/x/y'\nmode = 0640", "line 3", 'write it in quotes: "0640"'),
        ("x = " + "[" * 50_000, "is nested too deeply", "no setting needs more than three levels"),
        ('log = "journal"\n[boot]\nregistries = ["self"]', "boot.registries: stands below [boot]", "move it above"),
        (b"log = '\xff'", "line 1: is not UTF-8", "save it as UTF-8"),
        ("registries = ['111122223333.dkr.ecr.eu-west-1.amazonaws.co']", "registries[0]: ", "amazonaws.com"),
        ("registries = []", "registries: is an empty list", 'write for example ["self"]'),
    ],
    ids=["BOM", "two lines", "mode", "nested", "below boot", "latin", "host", "empty"],
)  # fmt: skip
def test_what_toml_itself_does_not_forgive_is_explained(host, text, what, to_do):
    said = host.try_settings("check", text)

    [problem] = problems(said, "check")
    assert f"{host.config}: " in problem
    assert what in problem
    assert to_do in problem


def test_settings_that_cannot_be_read_at_all_are_named(host):
    host.config.mkdir()
    done = host.run("check")
    assert done.returncode == 78
    assert f"{host.config}: is not a regular file" in done.stderr

    host.config.rmdir()
    done = host.run("check")
    assert done.returncode == 78
    assert f"{host.config}: does not exist" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [], ["no-such-command"], ["status", "--no-such-option"], ["wait", "--timeout", "2"], ["check", "one", "two"],
        ["wait", "--timeout"], ["--state", "x", "status"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_2_and_shows_the_right_one(host, words):
    done = subprocess.run(
        [*host.program, *words],
        env=host.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("usage: ecrlogind")
    assert done.stdout == ""


def test_a_user_who_is_not_there_yet_is_a_pending_login_and_holds_up_nobody(keeper, notify_socket):
    keeper.write_settings(["self"], [{"user": "comes-later"}, {"path": str(keeper.destination())}])
    keeper.environment["NOTIFY_SOCKET"] = notify_socket.path

    with keeper.running():
        notify_socket.read_until(b"READY=1")
        assert keeper.password(OWN)
        assert keeper.run("status").returncode == 0
        found = {login["destination"]: login for login in keeper.document["logins"]}

    assert found["user:comes-later"]["state"] == "pending"
    assert found["user:comes-later"]["error"]["code"] == "no_user"
    assert found[str(keeper.destination())]["state"] == "in_place"


# --- where the state is


@pytest.fixture(scope="module")
def program():
    with installation() as command:
        yield command


@pytest.fixture
def somebody():
    with person() as one:
        yield one


@pytest.mark.system
@pytest.mark.parametrize("command", ["run", "login", "logout"])
def test_a_keeper_with_nowhere_to_keep_its_state_names_the_option(program, somebody, command):
    done = somebody.run(*program, command)

    assert done.returncode == 78
    assert f"/run/user/{somebody.uid}/ecrlogind: " in done.stderr
    assert "--state DIR" in done.stderr


@pytest.mark.system
def test_another_user_s_state_is_below_the_runtime_directory_unless_it_is_named(program, somebody, aws):
    runtime = somebody.home / "runtime"
    config = somebody.home / "config.toml"
    config.write_text(settings_of(somebody.home / "one" / "config.json", aws))
    os.chown(config, somebody.uid, somebody.uid)
    here = {"XDG_RUNTIME_DIR": str(runtime), "ECRLOGIND_CONFIG": str(config)}

    done = somebody.run(*program, "login", env=here)
    assert done.returncode == 0, done.stderr
    assert (runtime / "ecrlogind" / "status.json").exists()

    there = somebody.home / "there"
    done = somebody.run(*program, "login", env=here | {"ECRLOGIND_STATE": str(there)})
    assert done.returncode == 0, done.stderr
    assert (there / "status.json").exists()

    # The option comes before the variable, and readers go where the keeper went.
    done = somebody.run(*program, "status", "--json", "--state", there, env=here | {"ECRLOGIND_STATE": "/nowhere"})
    assert json.loads(done.stdout)["started_at"] == json.loads((there / "status.json").read_text())["started_at"]
    done = somebody.run(*program, "status", env=here)
    assert done.returncode == 3
    assert "1 of 1 logins in place" in done.stdout


def test_a_state_directory_may_lie_as_deep_as_directories_can(keeper):
    keeper.environment["ECRLOGIND_STATE"] = str(keeper.directory.joinpath(*["as deep as that"] * 20))
    keeper.state = Path(keeper.environment["ECRLOGIND_STATE"])
    keeper.write_settings(["self"])

    with keeper.running():
        keeper.wait_for(states={"self": "in_place"})
        beside = keeper.run("login")

    assert beside.returncode == 0, beside.stderr


@pytest.mark.system
def test_settings_that_another_user_may_not_read_are_named_with_what_to_do(program, somebody):
    config = somebody.home / "config.toml"
    config.write_text("log = 'stderr'")
    config.chmod(0o600)

    done = somebody.run(*program, "check", "--config", config)

    assert done.returncode == 78
    assert f"{config}: cannot be read: Permission denied\n  run as root, or let this user read it" in done.stderr


def settings_of(destination, aws):
    endpoints = ", ".join(f'{name} = "{url}"' for name, url in aws.endpoints.items())
    return (
        f'registries = ["self"]\ndestinations = [{{ path = "{destination}" }}]\n'
        f"[check]\nregistry = false\n[aws]\nendpoints = {{ {endpoints} }}\n"
    )


# --- who reads


@contextmanager
def on_a_terminal(keeper, *words, **environment):
    """Run a command on a terminal; yield the process, and what reads of it until a pattern is there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*keeper.program, *words], env=keeper.environment | environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = []

    def read_until(pattern):
        while not re.search(pattern, "".join(seen)):
            try:
                seen.append(os.read(ours, 65536).decode())
            except OSError:  # the other end is closed
                break
        text = "".join(seen)
        assert re.search(pattern, text), text
        seen.clear()
        return text

    try:
        yield process, read_until
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_terminal_gets_colours_and_a_pipe_or_no_color_plain_text(keeper):
    keeper.write_settings(["self"])
    assert keeper.run("login").returncode == 0

    assert "\x1b" not in keeper.run("status").stdout
    with on_a_terminal(keeper, "status") as (_, read_until):
        assert "\x1b[32min_place\x1b[0m" in read_until("in_place.*\n")
    with on_a_terminal(keeper, "status", NO_COLOR="1") as (_, read_until):
        assert "\x1b" not in read_until("in_place.*\n")


def test_watch_shows_what_changes_until_it_is_interrupted(keeper):
    keeper.write_settings(["self"])
    with on_a_terminal(keeper, "status", "--watch") as (watching, read_until):
        read_until("not running")
        with keeper.running():
            screen = read_until("healthy")
            assert "\x1b[H\x1b[2J" in screen
            assert "in_place" in read_until(r"in_place[^\n]*\n")
            keeper.stop()
        read_until("not running")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130


def test_watch_into_a_pipe_has_no_escapes(keeper):
    keeper.write_settings(["self"])
    with keeper.running():
        until(lambda: keeper.states() == {"self": "in_place"}, "the login")
        watching = subprocess.Popen(
            [*keeper.program, "status", "--watch"], env=keeper.environment, stdout=subprocess.PIPE, text=True
        )
        lines = [watching.stdout.readline() for _ in range(3)]
        watching.stdout.close()
        # It ends by itself once nobody reads any more, without a word.
        assert watching.wait(10) == 0
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["check", "--print"]], ids=" ".join)
def test_a_reader_who_went_away_is_no_error(keeper, words):
    keeper.write_settings(["self"])
    assert keeper.run("login").returncode == 0
    end, pipe = os.pipe()
    os.close(end)

    config = ["--config", str(keeper.config)] if words[0] == "check" else []
    done = subprocess.run(
        [*keeper.program, *words, *config], env=keeper.environment, stdout=pipe, stderr=subprocess.PIPE, check=False
    )
    os.close(pipe)

    assert done.stderr == b""
    assert done.returncode in (0, 3)


def test_help_names_every_command_and_an_example_of_each():
    done = subprocess.run([sys.executable, "-m", "ecrlogind", "--help"], capture_output=True, text=True, check=True)
    for command in ("run", "login", "wait", "status", "check", "logout"):
        assert re.search(rf"^ +{command} ", done.stdout, re.MULTILINE)
        told = subprocess.run(
            [sys.executable, "-m", "ecrlogind", command, "--help"], capture_output=True, text=True, check=True
        )
        assert "e.g. " in told.stdout


def test_what_check_prints_can_be_fed_back_and_is_the_same(keeper):
    keeper.config.write_text(EVERYTHING)
    dropped = keeper.directory / "config.d"
    dropped.mkdir()
    (dropped / "10.toml").write_text('destinations = [{ user = "later" }]\n[boot]\ntimeout = "5min"\n')

    first = keeper.run("check", "--print")
    (dropped / "10.toml").unlink()
    keeper.config.write_text(first.stdout)
    again = keeper.run("check", "--print")

    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout == first.stdout
    assert 'user = "later"' in first.stdout
    assert 'timeout = "5min"' in first.stdout
    # What must not be printed cannot be fed back.
    assert "us:***@proxy.example" in first.stdout
