"""Identities: who we sign as when AWS is asked for a credential."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Identity:
    """The host's own role, a profile, or a role assumed from there.

    *roles* is the chain of role ARNs to assume one after the other, empty for none. *external_id* and *duration* go
    with the last of them; *scope* is ``"pull"`` for a session policy that takes pushing away.
    """

    profile: str | None = None
    roles: tuple[str, ...] = ()
    external_id: str | None = None
    session_name: str | None = None
    duration: timedelta | None = None
    scope: str | None = None

    @property
    def label(self) -> str:
        """What `status` calls it: the last role's ARN, else ``profile:NAME``, else ``host``."""
        if self.roles:
            return self.roles[-1]
        return f"profile:{self.profile}" if self.profile else "host"


HOST = Identity()
