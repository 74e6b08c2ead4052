"""A fleet of hosts with the program's own planning and backoff, against AWS's token bucket: simulated, call by call."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ecrlogind.core.credential import Renewal, Secret
from ecrlogind.core.identity import HOST
from ecrlogind.core.refusal import Code
from ecrlogind.core.standing import Standing
from ecrlogind.core.wire import Call, Issued, Refusal

CALL = Call(HOST, "eu-west-1")
LIFETIME = timedelta(hours=12)
THROTTLED = Refusal(Code.THROTTLED, "", "")
AWAY = Refusal(Code.SERVICE_ERROR, "", "")
DAY = 86400.0


@dataclass
class Bucket:
    """AWS's rate limit: *rate* tokens a second, at most *burst*. A call that is throttled takes none."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def takes(self, now: float) -> bool:
        """Whether a call at *now* is let through."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def least_time(self, hosts: int) -> float:
        """How long the bucket alone takes to let *hosts* calls through, in seconds."""
        return max((hosts - self.burst) / self.rate, 0.0)


@dataclass
class Outcome:
    """What came of a run. Times are in seconds; *calls* and *served* count by minute."""

    logged_in_at: dict[int, float] = field(default_factory=dict)
    expired: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    served: Counter[int] = field(default_factory=Counter)


def simulate(
    boots: Sequence[float],
    bucket: Bucket,
    *,
    until: float,
    away: tuple[float, float] = (0.0, 0.0),
    renewal: Renewal = Renewal(),
    seed: int = 1,
) -> Outcome:
    """Let a host boot at each of *boots* and run *until* then. AWS answers 500 within *away*."""
    luck = random.Random(seed)
    outcome = Outcome()
    standings = [Standing() for _ in boots]
    due = [(at, host) for host, at in enumerate(boots)]
    heapq.heapify(due)
    while due and due[0][0] < until:
        now, host = heapq.heappop(due)
        span, standing = timedelta(seconds=now), standings[host]
        outcome.calls[int(now // 60)] += 1
        if away[0] <= now < away[1] or not bucket.takes(now):
            was_held = standing.holds(span)
            standing = standing.refused(
                AWAY if away[0] <= now < away[1] else THROTTLED,
                span,
                started_at=timedelta(seconds=boots[host]),
                floor=renewal.floor,
                draw=luck.random(),
            )
            outcome.expired += standing.credential is not None and not was_held
        else:
            outcome.logged_in_at.setdefault(host, now)
            outcome.served[int(now // 60)] += 1
            standing = standing.issued(Issued(CALL, "AWS", Secret(""), LIFETIME), span, renewal, luck.random())
        standings[host] = standing
        heapq.heappush(due, (standing.due_at.total_seconds(), host))
    return outcome


def within(seconds: float, hosts: int, begin: float = 0.0, seed: int = 2) -> list[float]:
    """Return when *hosts* boot that do so at random times within *seconds* of *begin*."""
    luck = random.Random(seed)
    return [begin + luck.uniform(0, seconds) for _ in range(hosts)]
