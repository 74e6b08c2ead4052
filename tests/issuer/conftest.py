"""The issuer as the keeper runs it: a process with an empty environment, one line in, lines out."""

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

import pytest

from ecrlogind.core.codec import encode
from ecrlogind.core.identity import HOST
from ecrlogind.core.wire import Aws, Call, Issued, Question, Refused, decode_answer
from standin import Fault, Proxy, StandIn

COMMAND = [sys.executable, "-I", "-m", "ecrlogind.issuer"]

# For a process that is to differ from the real one in a line before.
RUN = 'runpy.run_module("ecrlogind.issuer", run_name="__main__")'

# More than any answer takes here, less than what a test may.
DEADLINE = timedelta(seconds=15)

EU = Call(HOST, "eu-west-1")
US = Call(HOST, "us-east-1")
PUBLIC = Call(HOST, "us-east-1", public=True)


class Issuer:
    """One run of the process. Iterate for its answers as they come; `rest` waits for its end."""

    def __init__(self, question, command=COMMAND, **popen):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            **popen,
        )
        self._lines = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.process.stdin.write(question if isinstance(question, bytes) else encode(question))
        self.process.stdin.flush()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next(self, timeout=30):
        """Return the next answer; raise StopIteration after the last, queue.Empty when none comes."""
        line = self._lines.get(timeout=timeout)
        if line is None:
            raise StopIteration
        return decode_answer(line)

    def rest(self):
        """Return the answers that are left, in order, and what it wrote on stderr."""
        answers = []
        while (line := self._lines.get(timeout=60)) is not None:
            answers.append(decode_answer(line))
        stderr = self.process.stderr.read().decode()
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stderr.close()
        self.process.stdout.close()
        return answers, stderr


@dataclass
class Host:
    """A host beside the stand-in: what it asks, and what its processes wrote on stderr."""

    aws: StandIn
    stderr: str = ""

    def question(self, *calls, **parts):
        """Return a question about the stand-in; *parts* replace its parts, those of `Aws` too."""
        of_aws = {name: parts.pop(name) for name in tuple(parts) if name in Aws.__dataclass_fields__}
        endpoints = {**self.aws.endpoints, **of_aws.pop("endpoints", {})}
        return Question(
            calls,
            parts.pop("deadline", DEADLINE),
            aws=Aws(endpoints={name: url for name, url in endpoints.items() if url}, **of_aws),
            **parts,
        )

    def ask(self, *calls, **parts):
        """Return all answers to a question."""
        answers, stderr = Issuer(self.question(*calls, **parts)).rest()
        self.stderr += stderr
        return answers

    def refusal(self, *calls, **parts):
        """Return why the one call is refused."""
        [answer] = [each for each in self.ask(*calls or (EU,), **parts) if isinstance(each, Refused)]
        return answer.refusal

    def issued(self, *calls, **parts):
        """Return what is issued; nothing may be refused."""
        answers = [each for each in self.ask(*calls, **parts) if isinstance(each, Issued | Refused)]
        assert [each.refusal for each in answers if isinstance(each, Refused)] == []
        return answers

    def ask_beside(self, faults, **parts):
        """Let each of *faults* strike a region of its own, all in one question; return the answers in their order.

        One more region, which nothing strikes, must be issued all the while.
        """
        with contextlib.ExitStack() as struck:
            for number, fault in enumerate(faults):
                struck.enter_context(self.aws.fault(Fault(service="ecr", region=f"us-east-{number}", **fault)))
            calls = [Call(HOST, f"us-east-{number}") for number in range(len(faults) + 1)]
            answers = {each.call: each for each in self.ask(*calls, **parts)}
        assert isinstance(answers[calls.pop()], Issued)
        return [answers[call] for call in calls]

    def keys(self, account="444455556666"):
        """Return the environment of a user with keys."""
        user = self.aws.user(account)
        return {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}

    def signers(self):
        """Return who signed which call, in order."""
        return [
            (call.service, call.action, call.region, call.identity)
            for call in self.aws.calls()
            if call.service in ("ecr", "ecr-public", "sts")
        ]


@pytest.fixture
def aws(tmp_path):
    """Start the stand-in."""
    with StandIn(tmp_path / "aws") as aws:
        yield aws


@pytest.fixture
def host(aws):
    """Stand for a host on the stand-in's instance. No secret may be on any stderr of its processes."""
    host = Host(aws)
    yield host
    for secret in [*aws.secrets(), *aws.world.passwords.marks()]:
        assert secret not in host.stderr


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def free_port():
    """Keep a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@dataclass
class Everywhere:
    """AWS's real names over TLS, by way of a proxy that knows where they really are."""

    proxy: Proxy
    parts: dict


@pytest.fixture
def everywhere(aws):
    with Proxy(routes={"*": aws.tls_address}) as proxy:
        endpoints = dict.fromkeys(("ecr", "ecr-public", "sts", "registry"))
        yield Everywhere(proxy, {"proxy": proxy.url, "ca": aws.ca_file.read_text(), "endpoints": endpoints})


@pytest.fixture
def listener():
    """Make servers that take connections and send the same bytes to all; return each one's port and what it heard."""
    socks = []

    def listen(answer=b"", *, pause=None):
        sock = socket.create_server(("127.0.0.1", 0))
        socks.append(sock)
        heard = []

        def serve():
            while True:
                try:
                    connection, _ = sock.accept()
                except OSError:
                    return
                socks.append(connection)
                connection.settimeout(10)
                with contextlib.suppress(OSError):
                    heard.append(connection.recv(65536))
                    for chunk in [answer] if pause is None else [answer[i : i + 1] for i in range(len(answer))]:
                        connection.sendall(chunk)
                        time.sleep(pause or 0)
                if answer and pause is None:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return sock.getsockname()[1], lambda: b"".join(heard)

    yield listen
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
