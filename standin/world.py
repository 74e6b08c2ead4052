"""What the services share: the clock, the keys, the passwords, the instance, the images."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from standin.calls import Calls
from standin.faults import Faults
from standin.identities import Identities
from standin.images import image_of
from standin.instance import Instance
from standin.passwords import Passwords


@dataclass(slots=True)
class World:
    """All state of the stand-in. Every plain field may be changed at any time.

    *lifetime* is a password's, in seconds. *clock_skew* is how many seconds AWS's clock is ahead of the host's.
    *aliases* maps host names that are no ECR names to the account and region of the registry behind them.
    *layers* is the host that layers are fetched from, as ECR sends its clients to S3; "" for the registry itself.
    *web_identity* is the token that AssumeRoleWithWebIdentity must come with, None for any.
    """

    lifetime: float = 12 * 3600.0
    clock_skew: float = 0.0
    instance: Instance = field(default_factory=Instance)
    identities: Identities = field(default_factory=Identities)
    passwords: Passwords = field(default_factory=Passwords)
    calls: Calls = field(default_factory=Calls)
    faults: Faults = field(default_factory=Faults)
    aliases: dict[str, tuple[str, str]] = field(default_factory=dict)
    layers: str = ""
    web_identity: str | None = None
    bearers: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    _images: dict[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """What AWS's clock says, in Unix seconds."""
        return time.time() + self.clock_skew

    def add_image(self, image: str, host: str = "*") -> str:
        """Let ``repo:tag`` be found on registries whose host matches *host*; return its digest."""
        repository, _, tag = image.partition(":")
        digest, blobs = image_of(image)
        self.blobs |= blobs
        self._images[host, repository, tag or "latest"] = digest
        return digest

    def tags(self, host: str, repository: str) -> dict[str, str] | None:
        """Return tag → digest of a repository, None if there is none of that name."""
        found = {
            tag: digest
            for (pattern, name, tag), digest in self._images.items()
            if name == repository and fnmatchcase(host, pattern)
        }
        return found or None
