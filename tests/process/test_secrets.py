"""No secret gets to where it does not belong, whatever happens while secrets flow."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

import ecrlogind
from standin import Fault
from tests.support.canary import Needles, Sampler, decoded, descendants, executions, traced
from tests.support.keeper import until
from tests.support.need import need

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
PUBLIC = "public.ecr.aws"
ROLE = "arn:aws:iam::222222222222:role/pull"

# These open nothing, but they are in the keeper's hands all the same.
PLANTED = {
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "PlantedAuthorizationTokenOfAContainer0123456789",
    "https_proxy": "http://user:PlantedPasswordOfTheProxy0123456789@127.0.0.1:9",
}
FILE_SECRET = "PlantedSecretKeyOfTheCredentialsFile0123"
FILE_TOKEN = "PlantedSessionTokenOfTheCredentialsFile0123456789"
WEB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJydW5uZXItb2YtYS1qb2ItNDIifQ.c2ln-bmF0dXJl_b2YtdGhpcy1wbGFudGVkLXRva2Vu"


class Datagrams:
    """A notify socket that keeps all that it is told."""

    def __init__(self, path):
        self.said = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while said := self._socket.recv(65536):
            self.said.append(said)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def datagrams(tmp_path):
    one = Datagrams(tmp_path / "n")
    yield one
    one.close()


@pytest.mark.timeout(240)
def test_through_all_that_can_happen_no_secret_is_to_be_seen_anywhere(  # noqa: PLR0915  # one life
    keeper, aws, datagrams, tmp_path
):
    need(shutil.which("strace"), "strace")
    aws.world.lifetime = 6
    own_keys = aws.user("444455556666")
    file_keys = aws.user("444455556666", "other")
    credentials = keeper.directory / "planted-credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {file_keys.access_key}\naws_secret_access_key = {file_keys.secret_key}\n"
        f"[never-used]\naws_access_key_id = AKIAPLANTED000000000\naws_secret_access_key = {FILE_SECRET}\n"
        f"aws_session_token = {FILE_TOKEN}\n"
    )
    temporary = keeper.directory / "tmp"
    temporary.mkdir()
    own = {"AWS_ACCESS_KEY_ID": own_keys.access_key, "AWS_SECRET_ACCESS_KEY": own_keys.secret_key}
    keeper.environment["PYTHONPATH"] = str(Path(ecrlogind.__file__).parents[1])
    keeper.environment |= PLANTED | own | {"NOTIFY_SOCKET": str(tmp_path / "n"), "TMPDIR": str(temporary)}
    registries = [OWN, {"host": OTHER, "role_arn": ROLE}, PUBLIC]

    def settings(*more, **sections):
        keeper.write_settings(
            [*registries, *more],
            stop={"logout": True},
            aws={"endpoints": aws.endpoints, "credentials_file": str(credentials)},
            **sections,
        )

    settings()
    status = keeper.state / "status.json"
    commands = []
    log = tmp_path / "strace"
    # A core would be the keeper's whole memory, and lie in its working directory.
    anywhere = ["sh", "-ec", f'ulimit -c unlimited; cd {temporary}; exec "$@"', "sh"]
    strace = keeper.start(prefix=[*anywhere, *traced(log)])
    with Sampler(strace.pid, lambda: [status]) as sampler:
        # issue and renewal
        first = until(lambda: keeper.password(OWN), "the first login")
        until(lambda: keeper.password(OWN) not in (None, first), "a renewal")
        commands += [keeper.run("status"), keeper.run("status", "--json"), keeper.run("check", "--print")]
        # refusals, by an AWS that quotes what it was sent and what it gave
        token = next(each.token for each in reversed(aws.world.identities.all()) if each.token)
        quoted = " ".join([token, quote(token, safe=""), first, WEB_TOKEN])
        with (
            aws.fault(Fault(service="ecr", error="InvalidSignatureException", status=403, message=f"No.\n'{quoted}'")),
            aws.fault(Fault(service="sts", error="AccessDenied", status=403, message=f"{quoted} is denied")),
            aws.fault(Fault(service="ecr-public", body='{"authorizationData": "' + first)),
        ):
            commands.append(keeper.run("login"))
            for words in ("does not take the signature", "cannot be assumed"):
                until(lambda words=words: words in keeper.log, words)
            commands.append(keeper.run("status"))
        # From here on nothing is due, so what happens is what is made to happen.
        aws.world.lifetime = 3600
        commands.append(keeper.run("login"))
        until(lambda: set(keeper.states().values()) == {"in_place"}, "all logins again")
        # drift, and the crash of the courier that sees to it while somebody has the file open
        with keeper.destination().open("a"):
            keeper.destination().write_text("{}")
            crash(lambda: waiting_courier(strace.pid), keeper, "courier_failed")
        until(lambda: keeper.password(PUBLIC), "the login, put back")
        # a reload, and the crash of the issuer that asks for what is new
        pid = keeper.document["pid"]
        with aws.fault(Fault(service="ecr", behaviour="hang")):
            settings("111122223333.dkr.ecr.ap-southeast-2.amazonaws.com")
            os.kill(pid, signal.SIGHUP)
            crash(lambda: child(strace.pid, "ecrlogind.issuer"), keeper, "issuer_failed")
        # another, with settings that are wrong
        settings(aws2={"secret_access_key": own_keys.secret_key})
        os.kill(pid, signal.SIGHUP)
        until(lambda: (keeper.document or {}).get("problem"), "the problem")
        commands += [keeper.run("check"), keeper.run("login"), keeper.run("wait", "--timeout", "10ms")]
        # a crash of the keeper itself, then a start, a stop, a logout
        until(lambda: is_at_rest(pid), "a keeper at rest")
        os.kill(pid, signal.SIGABRT)
        strace.wait(30)
        assert "Current thread" in keeper.log  # faulthandler has told where it was
        settings()
        strace = keeper.start(prefix=[*anywhere, *traced(tmp_path / "strace-again")])
        until(lambda: keeper.document["pid"] != pid and set(keeper.states().values()) == {"in_place"}, "all again")
        os.kill(keeper.document["pid"], signal.SIGTERM)
        assert strace.wait(30) == 0
        assert keeper.auths() == {}
        commands.append(keeper.run("logout"))

    needles = Needles([*aws.secrets(), FILE_SECRET, FILE_TOKEN, WEB_TOKEN, *PLANTED.values()])
    assert needles.found_in(first.encode())  # it would be seen
    executed = [decoded(line) for each in (log, tmp_path / "strace-again") for line in executions(each)]
    assert len(executed) > 10
    assert any(b"ecrlogind.courier" in line for line in executed)
    assert all(b"core dumped" not in each.read_bytes() for each in (log, tmp_path / "strace-again"))
    assert any(b"ecrlogind.issuer" in content for content in sampler.seen)
    assert any(b"READY=1" in said for said in datagrams.said)
    places = {
        "the log": [keeper.log.encode()],
        "what commands printed": [text.encode() for done in commands for text in (done.stdout, done.stderr)],
        "arguments and environments": executed,
        # That of the keeper itself is what the test gave it.
        "/proc, and the status": [each for each in sampler.seen if own_keys.secret_key.encode() not in each],
        "what systemd was told": datagrams.said,
        "files": [path.read_bytes() for path in files_around(keeper, credentials)],
    }
    assert {place: needles.found_in(b"\0".join(contents)) for place, contents in places.items()} == dict.fromkeys(
        places
    )
    assert list(temporary.iterdir()) == []
    held_alone = [each for each in sampler.seen if own_keys.secret_key.encode() in each]
    assert all(b"ECRLOGIND_STATE=" in each for each in held_alone)


def crash(find, keeper, word):
    """Let whoever *find* finds dump its core, until the log has *word* of it."""

    def crashed():
        if pid := find():
            with suppress(ProcessLookupError):  # it has just come to its end
                os.kill(pid, signal.SIGABRT)
        return word in keeper.log

    until(crashed, word)


def child(ancestor, module):
    for pid in descendants(ancestor):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if module in file.read().split("\0"):
                    return pid
        except OSError:
            continue
    return None


def is_at_rest(pid):
    """Return whether nobody is out and each thread sleeps: of a running one faulthandler may tell but half."""
    threads = os.listdir(f"/proc/{pid}/task")
    return len(threads) <= 2 and descendants(pid) == []


def waiting_courier(ancestor):
    """Return a courier that sleeps until it gets its lease."""
    pid = child(ancestor, "ecrlogind.courier")
    try:
        with open(f"/proc/{pid}/wchan") as file:
            return pid if "nanosleep" in file.read() else None
    except OSError:
        return None


def files_around(keeper, *known):
    """Return all files that the daemon may have written, but those that are there for secrets."""
    for path in keeper.directory.rglob("*"):
        inside = path.relative_to(keeper.directory).parts
        meant = inside[0] == "aws" or inside[:2] in (("state", "credentials"), ("state", "answers"))
        ours = inside[0].startswith("strace") or path in (*known, keeper.destination(), keeper.config)
        if path.is_file() and not meant and not ours:
            yield path


def test_the_settings_give_no_proxy_s_password_away(keeper):
    secret = "ThePasswordOfTheProxy0123456789"
    keeper.write_settings(["self"], aws={"proxy": f"http://somebody:{secret}@127.0.0.1:9", "deadlin": secret})
    wrong = keeper.run("check")
    keeper.write_settings(["self"], aws={"proxy": f"http://somebody:{secret}@127.0.0.1:9"})
    right = keeper.run("check", "--print")

    assert (wrong.returncode, right.returncode) == (78, 0)
    assert "somebody" in right.stdout
    assert Needles([secret]).found_in(f"{wrong.stdout}{wrong.stderr}{right.stdout}{right.stderr}".encode()) is None


@pytest.mark.parametrize("where", ["argument", "environment", "file", "base64"])
def test_a_leak_that_is_planted_is_found(aws, tmp_path, where):
    need(shutil.which("strace"), "strace")
    secret = aws.user("444455556666").secret_key
    piece = secret[7:33]
    leaks = {
        "argument": "import subprocess, sys; subprocess.run(['true', 'x' + sys.stdin.read()])",
        "environment": "import subprocess, sys; subprocess.run(['true'], env={'X': sys.stdin.read()})",
        "file": "import sys; open('leak', 'w').write('{\"a\": \"' + sys.stdin.read())",
        "base64": "import sys, base64; open('leak', 'wb').write(base64.b64encode(b'Z' + sys.stdin.read().encode()))",
    }
    log = tmp_path / "strace"
    subprocess.run(
        [*traced(log), sys.executable, "-c", leaks[where]], input=secret if where == "base64" else piece, text=True,
        cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip

    contents = [decoded(line) for line in executions(log)]
    leak = tmp_path / "leak"
    contents += [leak.read_bytes()] if leak.exists() else []
    assert Needles([secret]).found_in(b"\0".join(contents))
    assert not Needles([aws.user("444455556666").secret_key]).found_in(b"\0".join(contents))
