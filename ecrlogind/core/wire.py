"""What keeper, issuer and courier say to each other, a line each; `core.codec` writes and reads them.

The lines pass through pipes and sockets that nobody else has open.
"""

from __future__ import annotations

import hashlib
import typing
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from ecrlogind.core.codec import decode_tagged, encode
from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import Identity

# A region that is not known yet: the one that this instance runs in.
SELF = "self"

# The longest line that a courier's answer may be, in bytes.
LONGEST_REPORT = 64 * 1024


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
    path where the config file does (`web_identity_token_file`). *deadline* is how long to wait for
    the network, and then for the answers. With *instance* the identity document is asked for even if no call has the
    region `self`.
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
    can be told from foreign ones; *expelled* that of a host's foreign login that may be replaced; *replace* are hosts
    under which whatever stands is replaced. *mode* and *gid* are None where the file's own shall stay. With *watch* the
    courier arms an inotify descriptor and passes it back beside its report.
    """

    path: str
    home: str | None
    logins: Mapping[str, Secret]
    deadline: timedelta
    helpers: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    delivered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expelled: Mapping[str, str] = field(default_factory=dict)
    replace: tuple[str, ...] = ()
    fix_shadows: bool = False
    mode: int | None = None
    gid: int | None = None
    watch: bool = False

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that it is about."""
        return tuple(dict.fromkeys((*self.logins, *self.helpers, *self.remove)))


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
    *rest* is what was found under every host of the errand that *found* does not name, None if that says all.
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    changed: bool = False
    refusal: Refusal | None = None
    notes: tuple[Refusal, ...] = ()
    rest: Found | None = None

    def brief(self, errand: Errand) -> Report:
        """Return the same in few words: what most hosts of *errand* have in common is said once."""
        if not self.found or set(self.found) != set(errand.hosts):
            return self
        [(rest, _)] = Counter(self.found.values()).most_common(1)
        return replace(self, found={host: each for host, each in self.found.items() if each != rest}, rest=rest)

    def full(self, errand: Errand) -> Report:
        """Return the same with every host of *errand* named."""
        if self.rest is None:
            return self
        return replace(self, found={host: self.found.get(host, self.rest) for host in errand.hosts}, rest=None)


_ANSWERS: dict[str, type[Answer]] = {kind.__name__: kind for kind in typing.get_args(Answer)}


def encode_answer(answer: Answer) -> bytes:
    """Write one of the issuer's answers, tagged with what it is."""
    return encode({type(answer).__name__: answer})


def decode_answer(line: bytes) -> Answer:
    """Read one of the issuer's answers; raise WireError if it is none."""
    return typing.cast("Answer", decode_tagged(_ANSWERS, line))
