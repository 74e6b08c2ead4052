"""How a file stands that logins are delivered to: whose it is, what was delivered, and what couriers found there.

Values with pure transitions; the keeper holds one per file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ecrlogind.core import remembered
from ecrlogind.core.credential import SinceBoot, retry_after
from ecrlogind.core.standing import EAGER_CAP
from ecrlogind.core.wire import Errand, Found, Refusal, Report

# A job that logs out in a loop gets its login back at once this often, then once in so long.
BURST = 20
REFILL = timedelta(seconds=2)

# A foreign login that does not say when it ends is taken to live as long as any of ECR's.
FOREIGN_LIFETIME = timedelta(hours=12)


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
