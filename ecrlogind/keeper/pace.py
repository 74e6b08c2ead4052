"""When the next pass runs, as APScheduler asks."""

from __future__ import annotations

from datetime import datetime, timedelta

from apscheduler.triggers.base import BaseTrigger

# However quiet it is, a pass runs so often: a user may have appeared, or a clock stepped that told nobody.
TICK = timedelta(seconds=30)


class Pace(BaseTrigger):  # type: ignore[misc]  # apscheduler has no types
    """Runs the pass when the last one said that something falls due, or after two ticks."""

    def __init__(self) -> None:
        self.wait = TICK * 2

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return the next time: always later than *now*, or APScheduler would count missed runs for ever."""
        return now + max(min(self.wait, TICK * 2), timedelta(milliseconds=10))
