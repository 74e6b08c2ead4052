"""The daemon: brings the parts together and drives the passes.

One APScheduler job is the pass. It is pulled forward by everything that may have changed something: a due time, a
child that came back, an inotify event, a signal, a request, a step of the wall clock. The main thread waits for these;
the scheduler's thread alone runs passes.
"""

from __future__ import annotations

import faulthandler
import math
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ecrlogind.core.events import REMIND, Event, Level
from ecrlogind.core.settings import Ready, SettingsError
from ecrlogind.core.status import Facts, line
from ecrlogind.core.wire import Refusal
from ecrlogind.keeper import clock, control, memory
from ecrlogind.keeper.awaiting import StoppedError, first_settings
from ecrlogind.keeper.bell import Bell
from ecrlogind.keeper.host import Host, refusal_of
from ecrlogind.keeper.pace import TICK, Passes
from ecrlogind.keeper.systemd import Systemd, microseconds

# How long couriers may finish what they are at when the daemon is told to stop.
_PARTING = timedelta(seconds=1)
_LOGOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=50)
# A storm of SIGHUPs is one reload, and then one in so long.
_RELOAD_PAUSE = timedelta(seconds=1)
# What systemd's full queue would not take is said again so soon.
_SAY_AGAIN = timedelta(seconds=1)

EXIT_STOPPED, EXIT_FAILED, EXIT_SETTINGS = 0, 1, 78


class Daemon:
    """`ecrlogind run`."""

    def __init__(self, host: Host, environment: Mapping[str, str]) -> None:
        self._host = host
        self._systemd = Systemd(environment)
        self._tick = min(TICK, self._systemd.watchdog / 3) if self._systemd.watchdog else TICK
        self._scheduled = Passes(self._pass, self._note_crash)
        self._selector = selectors.DefaultSelector()
        self._turn = threading.RLock()
        self._came_round = threading.Condition(self._turn)
        self._bell = Bell()
        self._watches: dict[int, str] = {}
        self._new_watches: list[tuple[str, int]] = []
        self._problem: Refusal | None = None
        self._problems: SettingsError | None = None
        self._problem_told_at = timedelta(0)
        self._ready = False
        self._reloaded_at = -math.inf
        self._reload_wanted = False
        self._passes = 0
        self._busy = True  # as a start is, whoever is out
        self._crash: BaseException | None = None
        self._failed_start = False

    def run(self) -> int:
        """Keep the host logged in until told to stop; return the exit status."""
        memory.share_one_arena()
        faulthandler.enable(all_threads=True)  # the watchdog's SIGABRT leaves every stack in the journal
        self._bell.take_signals()
        try:
            settings = first_settings(self._host, self._systemd, self._bell)
        except StoppedError:
            return EXIT_STOPPED
        except SettingsError:
            return EXIT_SETTINGS
        self._host.start(settings, wake=self._scheduled.pull, watch=self._take_watch)
        self._started_at = self._host.clock.since_boot()
        listener = control.listen(self._host.state)
        step = clock.step_descriptor()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)
        if step is not None:
            self._selector.register(step, selectors.EVENT_READ)
        self._scheduled.start()
        try:
            self._wait_for_news(listener, step)
        finally:
            self._stop(listener)
        if self._crash is not None:
            raise self._crash
        return EXIT_FAILED if self._failed_start else EXIT_STOPPED

    # --- the main thread: news

    def _wait_for_news(self, listener: socket.socket, step: int | None) -> None:
        while True:
            ready = self._selector.select(self._patience())
            for key, _ in ready:
                if key.fileobj is self._bell:
                    signals = self._bell.hear()
                    if signals & {signal.SIGTERM, signal.SIGINT} or self._crash is not None or self._failed_start:
                        return
                    self._reload_wanted |= signal.SIGHUP in signals
                elif key.fileobj is listener:
                    self._accept(listener)
                elif key.fd == step:
                    clock.acknowledge_step(key.fd)
                else:
                    self._hear_watch(key.fd)
            if self._reload_wanted and time.monotonic() >= self._reloaded_at + _RELOAD_PAUSE.total_seconds():
                self._reload()
            self._register_watches()
            self._scheduled.pull()

    def _patience(self) -> float:
        """Return how long to wait for news, in seconds."""
        tick = self._tick.total_seconds()
        if not self._reload_wanted:
            return tick
        return min(tick, max(self._reloaded_at + _RELOAD_PAUSE.total_seconds() - time.monotonic(), 0))

    def _take_watch(self, path: str, descriptor: int) -> None:
        """Take an inotify descriptor from a pass: only the main thread touches the selector."""
        self._new_watches.append((path, descriptor))
        self._bell.ring()

    def _register_watches(self) -> None:
        while self._new_watches:
            path, descriptor = self._new_watches.pop(0)
            for old in [each for each, of in self._watches.items() if of == path]:
                self._forget_watch(old)
            self._watches[descriptor] = path
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _hear_watch(self, descriptor: int) -> None:
        """One event means: send a courier to look. It is never read, since its user holds the same description."""
        path = self._watches[descriptor]
        self._forget_watch(descriptor)
        with self._turn:
            self._host.reconciler.look(path)

    def _forget_watch(self, descriptor: int) -> None:
        del self._watches[descriptor]
        self._selector.unregister(descriptor)
        os.close(descriptor)

    # --- the scheduler's thread: passes

    def _pass(self) -> timedelta:
        with self._turn:
            began = time.monotonic()
            next_at = self._host.run_pass()
            facts = self._host.reconciler.facts()
            self._host.publish(facts)
            document = self._tell_the_world(facts)
            self._host.measure(document, timedelta(seconds=time.monotonic() - began))
            self._remind_of_problem()
            self._passes += 1
            self._came_round.notify_all()
            was_busy, self._busy = self._busy, self._host.reconciler.busy
        if was_busy and not self._busy:
            memory.give_back()
        now = self._host.clock.since_boot()
        if self._systemd.owes:
            next_at = min(next_at, now + _SAY_AGAIN)
        if not self._ready:
            next_at = min(next_at, max(self._started_at + self._host.settings.boot.timeout, now + self._tick / 30))
        return next_at - now

    def _tell_the_world(self, facts: Facts) -> Mapping[str, Any]:
        """Derive everything that is said of us from the outcomes, and say it; return the status document."""
        waited = self._host.clock.since_boot() - self._started_at
        overdue = waited >= self._host.settings.boot.timeout
        document = self._host.document(facts, ready=self._ready, problem=self._problem)
        words = {"STATUS": line(document, self._host.clock.wall())}
        if not self._ready:
            if self._host.is_settled(document):
                self._ready = True
            elif overdue and self._host.settings.boot.ready is Ready.ALL:
                self._failed_start = True
                self._host.tell(Event("start.failed", "Not every login is in place in time.", Level.ERROR))
                self._bell.ring()
            elif overdue:
                self._ready = True
            else:
                words["EXTEND_TIMEOUT_USEC"] = microseconds(self._tick + timedelta(seconds=15))
            if self._ready:
                document = {**document, "ready": True}
                words["READY"] = "1"
                self._host.tell(Event("start.finished", f"Ready: {words['STATUS']}.", Level.NOTICE))
        if not self._host.issuing.overdue() and not self._host.couriers.overdue():
            words["WATCHDOG"] = "1"
        self._host.statusfile.write(document)
        self._systemd.say(**words)
        return document

    def _note_crash(self, crash: BaseException) -> None:
        """End the daemon on a bug in a pass: systemd starts it again, and the journal keeps the trace."""
        self._crash = crash
        self._bell.ring()

    # --- settings

    def _reload(self) -> None:
        self._reload_wanted = False
        self._reloaded_at = time.monotonic()
        if self._ready:  # before, it would be the READY that opens the gate
            now = timedelta(microseconds=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
            self._systemd.say(RELOADING="1", MONOTONIC_USEC=microseconds(now))
        with self._turn:
            self._adopt_what_stands_there()
            self._host.reconciler.hurry()
        if self._ready:
            self._systemd.say(READY="1")

    def _adopt_what_stands_there(self) -> None:
        before = self._host.settings_digest
        try:
            self._host.adopt(self._host.load())
        except SettingsError as error:
            # The old settings stay in force: a typo must not log a fleet out.
            self._problem, self._problems = refusal_of(error), error
            self._host.tell_problems(error)
            self._problem_told_at = self._host.clock.since_boot()
            return
        if self._problem is not None or self._host.settings_digest != before:
            self._host.tell(Event("settings.adopted", "The settings were read again and are in force.", Level.NOTICE))
        self._problem = self._problems = None

    def _remind_of_problem(self) -> None:
        now = self._host.clock.since_boot()
        if self._problems is not None and now - self._problem_told_at >= REMIND:
            self._host.tell_problems(self._problems)
            self._problem_told_at = now

    # --- requests

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError, RuntimeError):  # no thread to be had: whoever asked hears that we hung up
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection,), name="request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = control.hear(connection)
            except (OSError, ValueError):
                return
            control.answer(connection, self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a pass for `ecrlogind login` and return the status document once nobody is out any more."""
        if request.get("verb") != "pass":
            return {"error": "no such verb"}
        until = time.monotonic() + _REQUEST_TIMEOUT.total_seconds()
        with self._turn:
            if request.get("settings") != self._host.settings_digest:
                return {"error": "other settings"}
            self._host.reconciler.hurry()
            passes = self._passes
        self._scheduled.pull()
        with self._turn:
            while time.monotonic() < until and (self._passes == passes or self._host.reconciler.busy):
                self._came_round.wait(until - time.monotonic())
            return self._host.document(self._host.reconciler.facts(), ready=self._ready, problem=self._problem)

    # --- the end

    def _stop(self, listener: socket.socket) -> None:
        self._systemd.say(STOPPING="1")
        self._scheduled.stop()
        listener.close()
        until = time.monotonic() + _PARTING.total_seconds()
        # A courier in the middle of its swap needs milliseconds; what hangs is ended.
        while self._host.couriers.out() and time.monotonic() < until:
            time.sleep(0.01)
        if self._host.settings.logout_on_stop:
            self._host.logout(_LOGOUT)
        self._host.end()
