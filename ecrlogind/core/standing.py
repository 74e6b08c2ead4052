"""How a call stands: what is held for it, how asking for the next one goes, and what registries say to it.

Values with pure transitions; the keeper holds one per call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from ecrlogind.core.credential import Credential, Renewal, SinceBoot, retry_after
from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Issued, Refusal

# What was lacking is noticed within the first cap while somebody is likely to be waiting, else within the second.
EAGER_CAP = timedelta(seconds=30)
PATIENT_CAP = timedelta(minutes=5)
EAGER_FOR = timedelta(minutes=10)
LAST_MINUTES = timedelta(minutes=30)
# A try that itself waited so long for the network hammers nobody: while somebody is likely to be waiting, the next one
# begins at once, so that hardly a moment goes by in which nobody would notice that the network carries.
LONG_TRY = timedelta(seconds=10)
THROTTLED_AT_LEAST = timedelta(seconds=5)

# A registry that was not reached, or that lets nothing be pulled, is asked again after so long.
RECHECK = timedelta(minutes=5)

NEVER = timedelta.max


@dataclass(frozen=True, slots=True)
class Standing:
    """How one call stands: the credential held for it, if any, and how asking for the next one goes.

    *rejections* counts the credentials in a row that a registry would not take although they had not expired.
    *follows_useless* says that the credential before this one was of no use any more: it had expired or was rejected.
    """

    credential: Credential | None = None
    refusal: Refusal | None = None
    failures: int = 0
    failing_since: SinceBoot | None = None
    retry_at: SinceBoot = timedelta(0)
    rejections: int = 0
    follows_useless: bool = False

    @property
    def due_at(self) -> SinceBoot:
        """When to ask next."""
        if self.refusal is not None:
            return self.retry_at
        return self.credential.renew_at if self.credential else timedelta(0)

    def holds(self, now: SinceBoot) -> bool:
        """Whether a credential is held that AWS still takes."""
        return self.credential is not None and not self.credential.has_expired(now)

    def issued(self, answer: Issued, now: SinceBoot, renewal: Renewal, draw: float, *, origin: str = "") -> Standing:
        """Return how things stand with a new credential; what failed before is forgotten."""
        return Standing(
            Credential(
                username=answer.username,
                password=answer.password,
                issued_at=now,
                expires_at=now + answer.lifetime,
                renew_at=now + renewal.due_after(answer.lifetime, draw),
                origin=origin,
            ),
            rejections=self.rejections,
            follows_useless=self.rejections > 0 or not self.holds(now),
        )

    def checked(self, checkup: Checkup, *, floor: timedelta) -> Standing:
        """Return how things stand after a registry was asked: a credential that it does not take is renewed at once.

        At once, but never sooner than *floor* after it was issued, and later each time that it is the same again.
        """
        if checkup.refusal is None:
            return replace(self, rejections=0)
        if self.credential is None or checkup.refusal.code != Code.INVALID_KEYS:
            return self
        wait = min(floor * (1 << min(self.rejections, 10)), timedelta(hours=1))
        renew_at = max(checkup.checked_at, self.credential.issued_at + wait)
        credential = replace(self.credential, renew_at=min(renew_at, self.credential.renew_at))
        return replace(self, credential=credential, rejections=self.rejections + 1)

    def refused(
        self,
        refusal: Refusal,
        now: SinceBoot,
        *,
        started_at: SinceBoot,
        floor: timedelta,
        draw: float,
        took: timedelta = timedelta(0),
    ) -> Standing:
        """Return how things stand after a refusal: the old credential stays, the wait grows.

        *started_at* is when the keeper started; *draw* in [0, 1) picks the jitter; *took* is how long the try was out.
        """
        since = now if self.failing_since is None else self.failing_since
        last_minutes = self.credential.expires_at - LAST_MINUTES if self.credential else NEVER
        expired = self.credential is not None and self.credential.has_expired(now)
        eager = now - started_at < EAGER_FOR or now - since < EAGER_FOR or (now >= last_minutes and not expired)
        cap = EAGER_CAP if eager else PATIENT_CAP
        failures = self.failures + 1
        wait = retry_after(failures, cap, draw)
        if eager and took >= LONG_TRY:
            wait = timedelta(0)
        if refusal.code == Code.THROTTLED:
            wait = max(wait, min(THROTTLED_AT_LEAST, cap))
        if refusal.code == Code.EXPIRED_ON_ARRIVAL:
            wait = max(wait, floor)  # AWS did issue one
        if refusal.retry_after is not None:
            wait = max(wait, min(refusal.retry_after, PATIENT_CAP))
        retry_at = now + wait
        if now < last_minutes < retry_at:
            retry_at = last_minutes
        return replace(self, refusal=refusal, failures=failures, failing_since=since, retry_at=retry_at)

    def moved(self, origin: str, now: SinceBoot) -> Standing:
        """Return the same, but a credential that was asked for otherwise than by *origin* is renewed at once.

        The files and variables that make the identity may be others now. Until then the old one serves.
        """
        if self.credential is None or self.credential.origin == origin:
            return self
        renew_at = min(now, self.credential.renew_at)
        return replace(self, credential=replace(self.credential, renew_at=renew_at))

    def hurried(self) -> Standing:
        """Return the same, but what was refused may be asked for at once."""
        return replace(self, retry_at=timedelta(0))


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a registry had against the credential issued at *issued_at*, None for nothing, when it was asked."""

    issued_at: SinceBoot
    checked_at: SinceBoot
    refusal: Refusal | None

    @property
    def objection(self) -> Refusal | None:
        """What the registry itself objects to. That it could not be asked is none."""
        if self.refusal is None or self.refusal.code not in (Code.INVALID_KEYS, Code.PULL_DENIED):
            return None
        return self.refusal

    def hurried(self) -> Checkup:
        """Return the same, but the registry may be asked again at once."""
        return replace(self, checked_at=timedelta.min)

    def again_at(self, every: timedelta) -> SinceBoot:
        """When to ask again, if it is to be asked *every* so often."""
        return self.checked_at + (every if self.refusal is None else min(every, RECHECK))
