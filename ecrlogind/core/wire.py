"""What keeper, issuer and courier say to each other: one JSON object a line, secrets in the clear.

The lines pass through pipes and sockets that nobody else has open. Both ends are of one version, so the codec is
strict: a key that is missing, unknown or of another type is an error, never a guess.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union

from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import Identity

Message = TypeVar("Message")

# A region that is not known yet: the one that this instance runs in.
SELF = "self"

# The longest line that a courier's answer may be, in bytes.
LONGEST_REPORT = 64 * 1024


class WireError(ValueError):
    """A line that is not what its reader expects. Its text quotes no value: values may be secrets."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done: a stable *code*, one line of what, one line of what to do.

    *retry_after* is what the other side asked us to wait.
    """

    code: str
    message: str
    hint: str
    retry_after: timedelta | None = None


# --- keeper and issuer


@dataclass(frozen=True, slots=True)
class Call:
    """One GetAuthorizationToken. Its credential is good for every host that *identity* may use there."""

    identity: Identity
    region: str
    public: bool = False
    fips: bool = False
    dual_stack: bool = False

    @property
    def key(self) -> str:
        """A name for it, fit for a file."""
        return hashlib.sha256(encode(self)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the registry at *host* whether it takes a credential: GET /v2/, and the manifest of each of *images*.

    *tag* comes back with the answer: one host may be asked about the credentials of two identities.
    """

    host: str
    username: str
    password: Secret
    public: bool = False
    images: tuple[str, ...] = ()
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Aws:
    """How AWS is reached: the `[aws]` settings that the issuer needs. *ca* is the bundle's text, not its path."""

    endpoints: Mapping[str, str] = field(default_factory=dict)
    ca: str | None = None
    proxy: str | None = field(default=None, repr=False)
    imds: str = "ipv4"
    use_fips: bool = False
    use_dualstack: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """All that the issuer is to find out, and all that it may know.

    *environment* holds the keeper's AWS_* and proxy variables; *files* the text of what they or the settings name, by
    the variable that names it (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, AWS_WEB_IDENTITY_TOKEN_FILE), or by its
    path where the config file does (`web_identity_token_file`). *deadline* is one call's. With *instance* the identity
    document is asked for even if no call has the region `self`.
    """

    calls: tuple[Call, ...]
    deadline: timedelta
    instance: bool = False
    probes: tuple[Probe, ...] = ()
    aws: Aws = Aws()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Instance:
    """The instance we run on, as its identity document says."""

    account: str
    region: str
    id: str


@dataclass(frozen=True, slots=True)
class NoInstance:
    """There is no identity document, for this reason."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Issued:
    """AWS gave a credential that lives for *lifetime* from now. *call* names the region, never `self`."""

    call: Call
    username: str
    password: Secret
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Refused:
    """AWS gave none. *call* has the region `self` only where the instance could not be known."""

    call: Call
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Probed:
    """What the registry itself said: None when it takes the credential. *tag* is the probe's."""

    host: str
    refusal: Refusal | None
    tag: str = ""


Answer = Instance | NoInstance | Issued | Refused | Probed


# --- keeper and courier


class Was(StrEnum):
    """What the courier found under one of our hosts, before it did anything."""

    OURS = "ours"  # the very login that the errand delivers
    OUTDATED = "outdated"  # an earlier one of ours
    ABSENT = "absent"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Errand:
    """What one file is to say about our hosts.

    *path* is absolute. *home* is the user's home for a file in it, None for a `path` destination, whose parents are
    then checked. *logins* maps hosts to what stands under ``auth``; *helpers* are hosts for which ``credHelpers`` names
    us; *remove* are hosts of ours to take out. *delivered* holds `digest`s of what we ever delivered here, so that ours
    can be told from foreign ones; *expelled* those of foreign logins that may be replaced; *replace* are hosts under
    which whatever stands is replaced. *mode* and *gid* are None where the file's own shall stay. With *watch* the
    courier arms an inotify descriptor and passes it back beside its report.
    """

    path: str
    home: str | None
    logins: Mapping[str, Secret]
    deadline: timedelta
    helpers: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    delivered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expelled: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    fix_shadows: bool = False
    mode: int | None = None
    gid: int | None = None
    watch: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One host in the file, as it was and as it is now.

    *is_ours* says whether our login (or helper) stands there now. *digest* and *ends_at* (Unix seconds, from inside an
    ECR password, else None) describe a foreign login that stands there still. *shadow* says what makes a client ignore
    ours.
    """

    was: Was
    is_ours: bool
    digest: str | None = None
    ends_at: int | None = None
    shadow: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the courier found and did. *notes* are worth a log line.

    *refusal* means that nothing was written, or by `docker login` not everything: then *found* says what stands.
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    changed: bool = False
    refusal: Refusal | None = None
    notes: tuple[Refusal, ...] = ()


# --- the codec

_ANSWERS: dict[str, type[Answer]] = {kind.__name__: kind for kind in typing.get_args(Answer)}


def encode(message: object) -> bytes:
    """Write a message as one line."""
    return json.dumps(_plain(message), ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def decode(kind: type[Message], line: bytes) -> Message:
    """Read a line that must hold a *kind*; raise WireError if it does not."""
    return typing.cast("Message", _typed(kind, _parse(line), kind.__name__))


def encode_answer(answer: Answer) -> bytes:
    """Write one of the issuer's answers, tagged with what it is."""
    return encode({type(answer).__name__: answer})


def decode_answer(line: bytes) -> Answer:
    """Read one of the issuer's answers; raise WireError if it is none."""
    tagged = _parse(line)
    if not isinstance(tagged, dict) or len(tagged) != 1:
        raise WireError("an answer is an object with one key")
    [(tag, value)] = tagged.items()
    if tag not in _ANSWERS:
        raise WireError("an answer of no known kind")
    return typing.cast("Answer", _typed(_ANSWERS[tag], value, tag))


def _parse(line: bytes) -> Any:
    # Raised outside of the handler: the decoder's own error carries the line, and with it its secrets, and would stay
    # with ours as its context, hidden or not.
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    raise WireError("not one line of JSON")


def _plain(value: Any) -> Any:
    match value:
        case Secret():
            return value.reveal()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        case _:
            return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _typed(kind: Any, value: Any, where: str) -> Any:
    """Return *value*, fresh from JSON, as a *kind*."""
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        [kind] = [option for option in typing.get_args(kind) if option is not types.NoneType]
        return _typed(kind, value, where)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_typed(item, each, where) for each in _expect(list, value, where))
    if origin is Mapping:
        item = typing.get_args(kind)[1]
        return {key: _typed(item, each, where) for key, each in _expect(dict, value, where).items()}
    if is_dataclass(kind):
        hints = _hints(typing.cast("type", kind))
        if set(_expect(dict, value, where)) != set(hints):
            raise WireError(f"{where}: other keys than expected")
        return typing.cast("type", kind)(
            **{name: _typed(hints[name], value[name], f"{where}.{name}") for name in hints}
        )
    if kind is Secret:
        return Secret(_expect(str, value, where))
    if kind is timedelta:
        seconds = _expect(float, value, where)
        with suppress(ValueError, OverflowError):
            return timedelta(seconds=seconds)
        raise WireError(f"{where}: not a span of time")
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        word = _expect(str, value, where)
        if word not in list(kind):
            raise WireError(f"{where}: not one of {', '.join(kind)}")
        return kind(word)
    return _expect(kind, value, where)


def _expect(kind: type, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise WireError(f"{where}: not a {kind.__name__}")
    return value
