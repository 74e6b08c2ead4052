"""APScheduler: the one job that is the pass, and when it runs next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from ecrlogind.keeper.lean import lean

with lean():
    from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
    from apscheduler.executors.debug import DebugExecutor
    from apscheduler.schedulers.background import BackgroundScheduler
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


class Passes:
    """Runs *one_pass* in a thread of its own, never two at once; it returns how long the next one can wait.

    *crashed* is told what one raised.
    """

    def __init__(self, one_pass: Callable[[], timedelta], crashed: Callable[[BaseException], None]) -> None:
        self._one_pass = one_pass
        self._crashed = crashed
        self._pace = Pace()
        self._pulled = False
        self._scheduler = BackgroundScheduler(
            executors={"default": DebugExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )

    def start(self) -> None:
        """Run the first one now."""
        self._scheduler.add_listener(self._note, EVENT_JOB_ERROR)
        self._scheduler.add_job(self._run, self._pace, id="pass", next_run_time=datetime.now(UTC))
        self._scheduler.start()

    def pull(self) -> None:
        """Pull the next one forward to now; a pass that calls it itself is followed by another at once."""
        self._pulled = True
        with suppress(Exception):  # the scheduler is shutting down; there is nothing left to pull
            self._scheduler.modify_job("pass", next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Let the one that runs end, and run no more."""
        self._scheduler.shutdown(wait=True)

    def _run(self) -> None:
        self._pulled = False
        wait = self._one_pass()
        # The scheduler sets the next time after this one has run, over what was pulled in the meantime.
        self._pace.wait = timedelta(0) if self._pulled else min(wait, TICK * 2)

    def _note(self, event: JobExecutionEvent) -> None:
        self._crashed(event.exception)
