"""How things stand: what is held for each call, and what is known of each destination's file.

Values with pure transitions; the keeper holds one per call and one per file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ecrlogind.core import remembered
from ecrlogind.core.credential import Credential, Renewal, SinceBoot, retry_after
from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Errand, Found, Issued, Refusal, Report

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

# A job that logs out in a loop gets its login back at once this often, then once in so long.
BURST = 20
REFILL = timedelta(seconds=2)

# A foreign login that does not say when it ends is taken to live as long as any of ECR's.
FOREIGN_LIFETIME = timedelta(hours=12)

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


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this host, as the passwd and group databases say now."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True)
class File:
    """One file that logins are delivered to, and whom it belongs to.

    *home* is the owner's home if the file is found by the user's name, None if it was named by its path. With
    *by_docker* it is not we who write it: `docker login` does, wherever the file says that logins are kept.
    """

    path: str
    owner: Account
    home: str | None = None
    gid: int | None = None
    mode: int | None = None
    by_docker: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """Somebody else's login that stands under our host: since when we know, and until when it can be of use."""

    digest: str
    seen_at: SinceBoot
    ends_at: SinceBoot


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one file stands.

    *delivered* maps our hosts to the digests of what was ever delivered there since boot, newest first but for the
    last, which a courier saw stand there. *awaited* are
    those of them that no courier has come back from yet with anything but a refusal. *found* is what the last one
    said, None before the first. *errand* is what it was sent for. *look_at* is when to send one to
    look, whatever else; it is due at once after an event.
    """

    file: File
    delivered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    awaited: tuple[str, ...] = ()
    foreign: Mapping[str, Sighting] = field(default_factory=dict)
    found: Mapping[str, Found] | None = None
    confirmed: Mapping[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None
    failures: int = 0
    retry_at: SinceBoot = timedelta(0)
    look_at: SinceBoot = timedelta(0)
    healed: tuple[SinceBoot, ...] = ()

    def sent(self, digests: Mapping[str, str], removed: tuple[str, ...]) -> Delivery:
        """Return what to remember before a courier leaves with *digests*: from then on they are known as ours.

        A host that is to be removed stays known until a report says that it is gone.
        """
        known = dict(self.delivered)
        awaited = (*self.awaited, *(host for host in digests if host not in known))
        for host, digest in digests.items():
            known[host] = remembered.sent(known.get(host, ()), digest)
        for host in removed:
            known.setdefault(host, ())
        return self if known == self.delivered else replace(self, delivered=known, awaited=awaited)

    def reported(
        self,
        errand: Errand,
        report: Report,
        *,
        digests: Mapping[str, str],
        now: SinceBoot,
        wall: float,
        look_at: SinceBoot,
    ) -> Delivery:
        """Return how the file stands after the courier with *errand* and *digests* came back. *wall* is Unix time."""
        awaited = tuple(host for host in self.awaited if host not in report.found and host not in errand.remove)
        if report.refusal is not None:
            failures = self.failures + 1
            return replace(
                self,
                awaited=awaited,
                found=dict(report.found),
                confirmed={host: digest for host, digest in digests.items() if host in report.found},
                refusal=report.refusal,
                failures=failures,
                retry_at=now + retry_after(failures, EAGER_CAP, 1.0),
                look_at=look_at,
            )
        foreign = {}
        for host, found in report.found.items():
            if found.digest is not None:
                foreign[host] = self._sighting(host, found.digest, found.ends_at, now, wall)
        return replace(
            self,
            delivered=remembered.after(self.delivered, report.found, digests, errand.remove),
            awaited=awaited,
            foreign=foreign,
            found=dict(report.found),
            confirmed=dict(digests),
            refusal=None,
            failures=0,
            retry_at=timedelta(0),
            look_at=look_at,
            healed=(*self.healed, now)[-BURST:] if report.changed else self.healed,
        )

    def _sighting(self, host: str, digest: str, ends_at: int | None, now: SinceBoot, wall: float) -> Sighting:
        known = self.foreign.get(host)
        seen_at = known.seen_at if known and known.digest == digest else now
        end = seen_at + FOREIGN_LIFETIME
        if ends_at is not None:
            # What a stranger wrote may say any number; none keeps us out for longer than the rule for those without.
            end = min(end, now + timedelta(seconds=max(min(ends_at - wall, 1e6), 0)))
        return Sighting(digest, seen_at, end)

    def disturbed(self, now: SinceBoot) -> Delivery:
        """Return the same after an event: a courier is to look, at once or as soon as the rate allows."""
        if len(self.healed) < BURST:
            return replace(self, look_at=timedelta(0))
        # The burst is spent if the last BURST heals all lie within the time that it takes to earn them back.
        if now - self.healed[0] > REFILL * BURST:
            return replace(self, look_at=timedelta(0))
        return replace(self, look_at=max(now, self.healed[-1] + REFILL))
