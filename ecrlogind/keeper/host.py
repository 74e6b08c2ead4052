"""One host's keeper, put together: what `run`, `login` and `logout` have in common."""

from __future__ import annotations

import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ecrlogind import __version__
from ecrlogind.core import metrics, status
from ecrlogind.core.answers import texts
from ecrlogind.core.delivery import Account
from ecrlogind.core.events import REMIND, Event, Level
from ecrlogind.core.settings import Settings, SettingsError
from ecrlogind.core.wire import Refusal
from ecrlogind.keeper import accounts, child, journal, reach, settingsfile
from ecrlogind.keeper.ahead import Ahead
from ecrlogind.keeper.answers import Answers
from ecrlogind.keeper.clock import Clock, boot_id, uptime
from ecrlogind.keeper.couriers import Couriers
from ecrlogind.keeper.files import sweep
from ecrlogind.keeper.issuing import Issuing, origin
from ecrlogind.keeper.mounts import Mounts
from ecrlogind.keeper.reconcile import Reconciler
from ecrlogind.keeper.statusfile import StatusFile
from ecrlogind.keeper.store import Store

# However quiet it is, the metrics are written so often: their file's age tells whether we live.
MEASURE = timedelta(minutes=1)


class Host:
    """The parts of a keeper for the settings in *config* (None: the usual place) and the state directory *state*.

    *ahead* is the issuer that was sent for before, if any.
    """

    def __init__(
        self, config: Path | None, state: Path, environment: Mapping[str, str], ahead: Ahead | None = None
    ) -> None:
        self.state = state
        self._ahead = ahead
        self.clock = Clock()
        self._unwritten_at: timedelta | None = None
        self.statusfile = StatusFile(state, self._note_unwritten)
        self._teller = journal.teller("journal", environment)
        self._woken = threading.Event()
        self._config = config
        self._environment = environment
        self._started_at: datetime = self.clock.wall()
        self._counters = metrics.Counters()
        self._measured: tuple[list[metrics.Metric], timedelta] = ([], timedelta(0))
        self._unmeasured_at: timedelta | None = None

    # --- settings

    def load(self) -> Settings:
        """Read the settings; raise SettingsError with all that is wrong."""
        return settingsfile.load(self._config, runs_as=accounts.ourselves().name)

    def fingerprint(self) -> object:
        """Return what differs once the settings' files do."""
        return settingsfile.fingerprint(self._config)

    @property
    def settings_digest(self) -> str:
        """What names the settings in effect."""
        return settingsfile.digest(self.settings)

    def adopt(self, settings: Settings) -> None:
        """Go by *settings* from now on."""
        self.settings = settings
        self._teller = journal.teller(settings.log, self._environment)
        self.reconciler.adopt(settings)

    def tell(self, event: Event) -> None:
        """Tell the log, wherever the settings want it."""
        self._teller(event)

    def _note_unwritten(self, error: OSError) -> None:
        """Tell, once an hour, that the state directory takes nothing; the logins go on without it."""
        now = self.clock.since_boot()
        if self._unwritten_at is not None and now - self._unwritten_at < REMIND:
            return
        self._unwritten_at = now
        message = f"{self.state} cannot be written: {error.strerror}. Status and restarts suffer, logins do not."
        self.tell(Event("state.unwritten", message, Level.ERROR, hint=f"look at `df {self.state}` and its rights"))

    def tell_problems(self, error: SettingsError) -> None:
        """Tell the log everything that is wrong with the settings."""
        for problem in error.problems:
            where = ": ".join(part for part in (problem.file, problem.key) if part)
            message = f"{where}: {problem.message}"
            self.tell(Event("settings.refused", message, Level.ERROR, code="bad_settings", hint=problem.hint))

    # --- the parts

    def start(
        self, settings: Settings, *, wake: Callable[[], None], watch: Callable[[str, int], None] | None = None
    ) -> None:
        """Put the parts together and take up what an earlier keeper held.

        *wake* is called, from any thread, when a pass would find something; *watch* as `Reconciler` says.
        """

        def woken() -> None:
            self._woken.set()
            wake()

        self.settings = settings
        self._teller = journal.teller(settings.log, self._environment)
        self._answers = Answers(self.state)
        self._mounts = Mounts()
        self._published: dict[tuple[int, str], str] | None = None
        self._unpublished: tuple[Refusal, ...] = ()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold every password
        sweep(self.state)
        self._store = Store(self.state / "credentials", boot_id(), self._note_unwritten)
        self.issuing = Issuing(self._issuer_account(), woken, self._environment, accounts.ourselves().home, self._ahead)
        self.couriers = Couriers(woken, confined=bool(self._environment.get("NOTIFY_SOCKET")))
        self.reconciler = Reconciler(
            settings,
            issuing=self.issuing,
            couriers=self.couriers,
            accounts=accounts,
            store=self._store,
            clock=self.clock,
            tell=self.tell,
            draw=random.random,
            watch=watch and self._following(watch),
            origin=lambda settings: origin(settings.aws, self._environment),
        )
        held = self._store.load()
        for name in held.discarded:
            message = f"{name} in {self.state / 'credentials'} is not whole and was thrown away."
            self.tell(Event("store.discarded", message, Level.WARNING))
        self.reconciler.restore(held.credentials, held.deliveries, held.instance)

    def _following(self, watch: Callable[[str, int], None]) -> Callable[[str, int], None]:
        def watched(path: str, descriptor: int) -> None:
            self._mounts.follow(path)
            watch(path, descriptor)

        return watched

    def _issuer_account(self) -> Account | None:
        """Return whom an issuer of our own runs as, None for ourselves."""
        if os.geteuid() != 0:
            return None
        account = accounts.find(reach.ISSUER_USER)
        if reach.has_unit():
            return account
        if account is None:
            hint = "create it with systemd-sysusers, or `useradd --system ecrlogind`"
            self._tell_unconfined(f"There is no user {reach.ISSUER_USER}", hint)
        elif not child.can_run(account):
            hint = "install ecrlogind where every user may read it, such as /opt/ecrlogind"
            self._tell_unconfined(f"The user {reach.ISSUER_USER} cannot run {sys.executable}", hint)
            return None
        return account

    def _tell_unconfined(self, why: str, hint: str) -> None:
        self.tell(Event("issuer.unconfined", f"{why}: AWS is asked as root.", Level.WARNING, hint=hint))

    # --- what is said of us

    def document(self, facts: status.Facts, *, ready: bool, problem: Refusal | None) -> dict[str, Any]:
        """Return the status document."""
        return status.document(facts, ready=ready, pid=os.getpid(), started_at=self._started_at, problem=problem)

    def problem_document(self, problem: Refusal | None) -> dict[str, Any]:
        """Return the status document of a keeper whose settings are wrong: it knows nothing but that."""
        return status.empty_document(
            pid=os.getpid(), wall=self.clock.wall(), started_at=self._started_at, problem=problem
        )

    def is_settled(self, document: Mapping[str, Any]) -> bool:
        """Whether the start need wait no longer."""
        return status.is_settled(document, self.settings.boot.ready)

    def publish(self, facts: status.Facts) -> None:
        """Let the answers of helper, provider and export say what is held now."""
        wanted = texts(facts, uptime())
        if wanted == self._published:
            return
        self._published = wanted
        refusals = self._answers.publish(wanted)
        news = [refusal for refusal in refusals if refusal not in self._unpublished]
        self._unpublished = refusals
        for refusal in news:
            message = f"{refusal.message[:1].upper()}{refusal.message[1:]}."
            self.tell(Event("answer.refused", message, Level.WARNING, code=refusal.code, hint=refusal.hint))

    def measure(self, document: Mapping[str, Any], took: timedelta) -> None:
        """Let the metrics, where they are wanted, say what *document* does, and how long the pass *took*."""
        if self.settings.metrics_textfile is None:
            return
        self._counters = self._counters.after(document)
        found, now = list(metrics.metrics(document, self._counters, took, __version__)), self.clock.since_boot()
        known, at = self._measured
        if now - at < MEASURE and [each for each in found if each.name != metrics.DURATION] == [
            each for each in known if each.name != metrics.DURATION
        ]:
            return
        self._measured = found, now
        try:
            from ecrlogind.keeper.metrics import write

            write(Path(self.settings.metrics_textfile), found)
        except ImportError:
            self._tell_unmeasured("prometheus_client is not installed", "install ecrlogind[metrics]")
        except OSError as error:
            what = f"{self.settings.metrics_textfile}: {os.strerror(error.errno or 0)}"
            hint = "let root write there without CAP_DAC_OVERRIDE; under systemd, see ReadWritePaths="
            self._tell_unmeasured(what, hint)

    def _tell_unmeasured(self, what: str, hint: str) -> None:
        now = self.clock.since_boot()
        if self._unmeasured_at is None or now - self._unmeasured_at >= REMIND:
            self._unmeasured_at = now
            self.tell(Event("metrics.refused", f"No metrics: {what}.", Level.WARNING, code="metrics", hint=hint))

    # --- passes

    def run_pass(self) -> timedelta:
        """Run a pass, with a look at what something was mounted over; return when the next is due, since boot."""
        for path in self._mounts.moved():
            self.reconciler.look(path)
        return self.reconciler.run_pass()

    def converge(self, timeout: timedelta) -> dict[str, Any]:
        """Run passes until nobody is out, or *timeout*; return the status document. For `login` and `logout`."""
        until = time.monotonic() + timeout.total_seconds()
        while True:
            self._woken.clear()
            began = time.monotonic()
            self.run_pass()
            facts = self.reconciler.facts()
            self.publish(facts)
            if not self.reconciler.busy or time.monotonic() > until:
                document = self.document(facts, ready=True, problem=None)
                self.measure(document, timedelta(seconds=time.monotonic() - began))
                return document
            self._woken.wait(max(until - time.monotonic(), 0))

    def logout(self, timeout: timedelta) -> list[str]:
        """Take our logins out of every file and forget every credential; return the files that still hold some."""
        self.reconciler.adopt(replace(self.settings, registries=(), destinations=()))
        self.converge(timeout)
        left = [path for path, delivery in self.reconciler.facts().deliveries.items() if delivery.delivered]
        if not left:
            self._store.clear()
        return left

    def end(self) -> None:
        """End every child that is still out."""
        child.kill_all()


def refusal_of(error: SettingsError) -> Refusal:
    """Return what is wrong with the settings in one line; the log has all of it."""
    first, *others = error.problems
    where = ": ".join(part for part in (first.file, first.key) if part)
    more = f" (and {len(others)} more)" if others else ""
    return Refusal("bad_settings", f"{where}: {first.message}{more}", "run `ecrlogind check` for all of it")
