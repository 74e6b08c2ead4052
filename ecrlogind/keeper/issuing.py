"""The issuer, from the keeper's side: what it is told, and how it is reached.

The keeper reads everything that the issuer may know and hands it over: the issuer has no home, no settings and no
environment of its own, so the same settings and variables give the same identity by hand, in an image build and under
systemd.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

from ecrlogind.core.codec import WireError, encode
from ecrlogind.core.delivery import Account
from ecrlogind.core.plan import Ask
from ecrlogind.core.refusal import Code
from ecrlogind.core.settings import AwsSettings, Settings
from ecrlogind.core.wire import (
    SELF,
    Answer,
    Aws,
    Call,
    Instance,
    Issued,
    Probed,
    Question,
    Refusal,
    Refused,
    decode_answer,
)
from ecrlogind.keeper.ahead import Ahead, Line
from ecrlogind.keeper.child import ChildError, converse, talk
from ecrlogind.keeper.reach import reached

# What the issuer does after its last call's deadline: it says so and exits.
_GRACE = timedelta(seconds=5)
_LONGEST_ANSWER = 1024 * 1024
_LARGEST_FILE = 1024 * 1024
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

# What may be told of a file's content, by the variable that names it; the second is where the SDK looks without it.
_FILES = (("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"))
_TOKENS = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_CA_BUNDLE = "AWS_CA_BUNDLE"
# Where a profile names the file of its web identity.
_NAMED_TOKEN = re.compile(r"^\s*web_identity_token_file\s*=\s*(/.*?)\s*$", re.MULTILINE | re.IGNORECASE)


class UnreadableError(Exception):
    """A file that the settings or the environment name cannot be read."""


def question(step: Ask, aws: AwsSettings, environment: Mapping[str, str], home: str) -> Question:
    """Gather what the issuer needs for *step*; raise UnreadableError if a file that is named cannot be read.

    *environment* is the keeper's own, *home* the passwd home of whom it runs as, whatever HOME says.
    """
    named = {
        "AWS_CONFIG_FILE": aws.config_file,
        "AWS_SHARED_CREDENTIALS_FILE": aws.credentials_file,
        _CA_BUNDLE: aws.ca_bundle,
    }
    told = {key: value for key, value in environment.items() if key.startswith("AWS_") or key in _PROXIES}
    files = {}
    for variable, usual in _FILES:
        path = named[variable] or told.pop(variable, None)
        if path is not None:
            files[variable] = _content(path)
        elif os.path.lexists(f"{home}/{usual}"):
            files[variable] = _content(f"{home}/{usual}")
        told.pop(variable, None)
    for variable in _TOKENS:
        if path := told.pop(variable, None):
            files[variable] = _content(path)
    for path in _NAMED_TOKEN.findall(files.get("AWS_CONFIG_FILE", "")):
        # Whether anybody uses this profile is the chain's to know, which says what it lacks.
        with suppress(UnreadableError):
            files[path] = _content(path)
    ca = named[_CA_BUNDLE] or told.pop(_CA_BUNDLE, None)
    told.pop(_CA_BUNDLE, None)
    return Question(
        calls=step.calls,
        deadline=aws.deadline,
        instance=step.instance,
        probes=step.probes,
        aws=Aws(
            endpoints=aws.endpoints,
            ca=_content(ca) if ca is not None else None,
            proxy=aws.proxy,
            imds=aws.imds,
            use_fips=aws.use_fips,
            use_dualstack=aws.use_dualstack,
        ),
        environment=told,
        files=files,
    )


def origin(aws: AwsSettings, environment: Mapping[str, str]) -> str:
    """Name the way in which AWS is asked: another one may mean another identity. Tells no secret."""
    told = {key: value for key, value in environment.items() if key.startswith("AWS_") or key in _PROXIES}
    way = {field.name: getattr(aws, field.name) for field in fields(aws) if field.name != "deadline"}
    return hashlib.sha256(encode({"settings": way, "environment": dict(sorted(told.items()))})).hexdigest()


def _content(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from None
    if len(content) > _LARGEST_FILE:
        raise UnreadableError(f"{path}: larger than {_LARGEST_FILE} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UnreadableError(f"{path}: not UTF-8") from None


class Issuing:
    """Sends issuers out and collects what they answer. Every call that is asked is answered, if only by a refusal.

    Where they are children, they run as *account*. The first question goes to the one that was sent for *ahead*.
    """

    def __init__(
        self,
        account: Account | None,
        wake: Callable[[], None],
        environment: Mapping[str, str],
        home: str,
        ahead: Ahead | None = None,
    ) -> None:
        self._account = account
        self._ahead = ahead
        self._collected = False
        self._wake = wake
        self._environment = environment
        self._home = home
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._out: list[_Errand] = []
        self._asking: frozenset[Call] = frozenset()
        self._probing: frozenset[tuple[str, str]] = frozenset()

    @property
    def asking(self) -> frozenset[Call]:
        """The calls that had no answer at the last `collect`, and those asked since.

        Answers and open calls are taken at one moment: a call whose answer came right after must not look as if nobody
        were asking.
        """
        return self._asking

    @property
    def probing(self) -> frozenset[tuple[str, str]]:
        """The hosts, and tags, of the probes that had no answer then, and of those sent since."""
        return self._probing

    def overdue(self) -> bool:
        """Whether an issuer outlives its deadline, which the one who talks to it must not let happen."""
        with self._lock:
            return any(time.monotonic() > errand.until + _GRACE.total_seconds() for errand in self._out)

    def ask(self, step: Ask, settings: Settings) -> None:
        """Send an issuer out."""
        try:
            asked = question(step, settings.aws, self._environment, self._home)
        except UnreadableError as error:
            hint = "correct its name in the settings or the environment, or make it readable for root"
            refusal = Refusal(Code.NO_CREDENTIALS, f"cannot read {error}", hint)
            with self._lock:
                self._answers += [Refused(call, refusal) for call in step.calls]
                self._answers += [Probed(each.host, refusal, each.tag) for each in step.probes]
            self._wake()
            return
        # Once to wait for the network, once to ask.
        until = time.monotonic() + (2 * asked.deadline + _GRACE).total_seconds()
        errand = _Errand(asked, until, set(asked.calls), {(each.host, each.tag) for each in asked.probes})
        with self._lock:
            self._out.append(errand)
        self._asking |= errand.calls
        self._probing |= errand.probes
        ahead, self._ahead = self._ahead, None
        try:
            talk("issuer", lambda: self._run(errand, ahead))
        except ChildError as error:
            if ahead is not None:
                ahead.let_go()
            self._close(errand, _failed(error.message))

    def collect(self) -> list[Answer]:
        """Return what has been answered since the last time."""
        if self._collected and self._ahead is not None:
            self._ahead.let_go()  # the first pass had no question
            self._ahead = None
        self._collected = True
        with self._lock:
            answers, self._answers = self._answers, []
            self._asking = frozenset().union(*(errand.calls for errand in self._out))
            self._probing = frozenset().union(*(errand.probes for errand in self._out))
        return answers

    def _run(self, errand: _Errand, ahead: Ahead | None) -> None:
        def hear(line: bytes) -> None:
            answer = decode_answer(line)
            with self._lock:
                errand.settle(answer)
                self._answers.append(answer)
            self._wake()

        refusal = _failed("it ended without an answer")
        try:
            with self._reached(ahead) as (connection, words):
                converse(connection, encode(errand.asked), until=errand.until, most=_LONGEST_ANSWER, hear=hear)
                if said := words(errand.until):
                    refusal = _failed(said)
        except ChildError as error:
            refusal = _failed(error.message) if error.code != "deadline" else DEADLINE
        except WireError as error:
            refusal = _failed(str(error))
        finally:
            self._close(errand, refusal)

    def _close(self, errand: _Errand, refusal: Refusal) -> None:
        """Answer with *refusal* what *errand* leaves open."""
        with self._lock:
            self._out.remove(errand)
            self._answers += [Refused(call, refusal) for call in errand.calls]
            self._answers += [Probed(host, refusal, tag) for host, tag in errand.probes]
        self._wake()

    @contextmanager
    def _reached(self, ahead: Ahead | None) -> Iterator[Line]:
        with ahead.taken() if ahead is not None else nullcontext() as line:
            if line is not None:
                yield line
                return
        with reached(self._account) as line:
            yield line


DEADLINE = Refusal(
    Code.DEADLINE, "no answer from AWS in time", "look at the network between this host and AWS; it is tried again"
)


def _failed(what: str) -> Refusal:
    return Refusal(
        Code.ISSUER_FAILED,
        f"the issuer gave no answer: {what}",
        "see `journalctl -u ecrlogind`, and `systemctl status ecrlogind-issuer.socket`; it is tried again",
    )


@dataclass(slots=True)
class _Errand:
    """One question that is out: until when the issuer may live, and which calls and probes are still open."""

    asked: Question
    until: float
    calls: set[Call]
    probes: set[tuple[str, str]]

    def settle(self, answer: Answer) -> None:
        match answer:
            case Instance(region=region):
                self.calls = {replace(call, region=region) if call.region == SELF else call for call in self.calls}
            case Issued(call=call) | Refused(call=call):
                self.calls.discard(call)
            case Probed(host=host, tag=tag):
                self.probes.discard((host, tag))
            case _:
                pass
