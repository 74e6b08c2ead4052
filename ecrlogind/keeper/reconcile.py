"""One pass: take in what came back, plan, act, keep the outcomes.

A pass never waits. It sends issuers and couriers out and ends; when one of them comes back, the next pass takes in what
it brought. So a hung endpoint or a dead file server holds up nothing but its own login.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import assert_never

from ecrlogind.core.claims import with_answers
from ecrlogind.core.credential import Credential, Secret, SinceBoot
from ecrlogind.core.delivery import Delivery, File
from ecrlogind.core.desired import Desired, desire
from ecrlogind.core.events import Event, of_checkup, of_credential, of_refusal, of_report, of_troubles, served_by, where
from ecrlogind.core.latest import Latest
from ecrlogind.core.plan import Ask, Known, Plan, Ready, Send, file_of, look_after, plan
from ecrlogind.core.settings import Destination, Settings
from ecrlogind.core.standing import Checkup, Standing
from ecrlogind.core.status import Facts
from ecrlogind.core.told import Told
from ecrlogind.core.wire import SELF, Answer, Call, Instance, Issued, NoInstance, Probed, Refused
from ecrlogind.keeper.ports import Accounts, Clock, Couriers, Issuing, Returned, Store

# A file that the settings name no more is given up after so many refusals.
GIVE_UP = 5


class Reconciler:
    """Holds how things stand and brings them to what the settings ask for, a pass at a time.

    *draw* gives random numbers in [0, 1); *watch* takes a path and an inotify descriptor, whose first event is to come
    back as `look`, and is None where nobody stays to hear it. *origin* names the way in which settings make the host
    ask AWS; where it changes, all is asked anew.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        issuing: Issuing,
        couriers: Couriers,
        accounts: Accounts,
        store: Store,
        clock: Clock,
        tell: Callable[[Event], None],
        draw: Callable[[], float],
        watch: Callable[[str, int], None] | None,
        origin: Callable[[Settings], str] = lambda _: "",
    ) -> None:
        self._settings = settings
        self._origin = origin
        self._issuing = issuing
        self._couriers = couriers
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._tell = tell
        self._draw = draw
        self._watch = watch
        self._started_at = clock.since_boot()
        self._instance: Instance | None = None
        self._standings: dict[Call, Standing] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._checkups: dict[tuple[str, Call], Checkup] = {}
        self._asked_at: dict[Call, SinceBoot] = {}
        self._probed: dict[tuple[str, str], Secret] = {}
        self._told = Told()
        self._desire = Latest(desire)
        self._with_answers = Latest(with_answers)
        self._view: tuple[Mapping[Destination, File], Desired] | None = None

    def restore(
        self, credentials: Mapping[Call, Credential], deliveries: Iterable[Delivery], instance: Instance | None
    ) -> None:
        """Take up what an earlier keeper held."""
        self._instance = instance
        self._standings = {call: Standing(credential) for call, credential in credentials.items()}
        self._ask_anew_what_has_another_origin()
        self._deliveries = {delivery.file.path: delivery for delivery in deliveries}

    def adopt(self, settings: Settings) -> None:
        """Go by other *settings* from the next pass on."""
        self._settings = settings
        self._ask_anew_what_has_another_origin()

    def _ask_anew_what_has_another_origin(self) -> None:
        origin, now = self._origin(self._settings), self._clock.since_boot()
        self._standings = {call: standing.moved(origin, now) for call, standing in self._standings.items()}

    def hurry(self) -> None:
        """Let the next pass try again all that was refused, ask every registry, and look at every file."""
        self._standings = {call: standing.hurried() for call, standing in self._standings.items()}
        self._checkups = {key: checkup.hurried() for key, checkup in self._checkups.items()}
        self._deliveries = {
            path: replace(delivery, look_at=timedelta(0)) for path, delivery in self._deliveries.items()
        }

    def look(self, path: str) -> None:
        """Let a courier look at *path*: something changed there."""
        if delivery := self._deliveries.get(path):
            self._deliveries[path] = delivery.disturbed(self._clock.since_boot())

    @property
    def busy(self) -> bool:
        """Whether an issuer or a courier is out."""
        return bool(self._issuing.asking or self._issuing.probing or self._couriers.away)

    def run_pass(self) -> SinceBoot:
        """Take in, plan, act; return when the next pass is due at the latest."""
        for answer in self._issuing.collect():
            self._take_in(answer)
        for returned in self._couriers.collect():
            self._receive(returned)
        files, desired = self._view = self._look_around()
        self._forget_the_undesired(desired, files)
        now = self._clock.since_boot()
        self._tell_troubles(desired, files, now)
        made = self._plan(desired, files, now)
        for step in made.steps:
            match step:
                case Ask():
                    self._asked_at.update(dict.fromkeys(step.calls, now))
                    self._probed.update({(each.host, each.tag): each.password for each in step.probes})
                    self._issuing.ask(step, self._settings)
                case Ready():
                    self._couriers.ready(step)
                case Send():
                    self._send(step)
                case _:
                    assert_never(step)
        return made.next_at

    def facts(self) -> Facts:
        """Return all that a status is derived from, as the last pass found it."""
        files, desired = self._view or self._look_around()
        return Facts(
            desired=desired,
            files=files,
            standings=dict(self._standings),
            deliveries=dict(self._deliveries),
            checkups=dict(self._checkups),
            asking=self._issuing.asking,
            now=self._clock.since_boot(),
            wall=self._clock.wall(),
        )

    def _plan(self, desired: Desired, files: Mapping[Destination, File], now: SinceBoot) -> Plan:
        known = Known(
            files=files,
            standings=self._standings,
            deliveries=self._deliveries,
            checkups=self._checkups,
            asking=self._issuing.asking,
            probing=self._issuing.probing,
            away=self._couriers.away,
            instance=self._instance,
        )
        return plan(desired, known, self._settings.check, now)

    def _look_around(self) -> tuple[Mapping[Destination, File], Desired]:
        """Return where each destination lies, and what is desired. Users are looked up anew: they come, go and move."""
        ourselves, find, group = self._accounts.ourselves(), cache(self._accounts.find), cache(self._accounts.group)
        files = {}
        for destination in self._settings.destinations:
            name = destination.user or destination.owner
            owner = find(name) if name else ourselves
            gid = group(destination.group) if destination.group else None
            if owner is not None and (gid is not None or destination.group is None):
                files[destination] = file_of(destination, owner, gid)
        return files, self._with_answers(self._desire(self._settings, self._instance), files, ourselves)

    def _forget_the_undesired(self, desired: Desired, files: Mapping[Destination, File]) -> None:
        for call in [each for each in self._standings if each not in desired.calls]:
            del self._standings[call]
            self._asked_at.pop(call, None)
            self._store.forget_credential(call)
        self._checkups = {key: each for key, each in self._checkups.items() if key in desired.hosts}
        paths = {file.path for file in files.values()}
        for path, delivery in list(self._deliveries.items()):
            if path in paths:
                continue
            # Its destination left the settings, or its user left the host. Only the former leaves logins to take out.
            gone = self._accounts.find(delivery.file.owner.name) is None
            if gone or not delivery.delivered or delivery.failures >= GIVE_UP:
                del self._deliveries[path]
                self._store.forget_delivery(path)

    # --- answers

    def _take_in(self, answer: Answer) -> None:
        match answer:
            case Instance():
                self._instance = answer
                self._store.keep_instance(answer)
                self._standings = {call: each for call, each in self._standings.items() if call.region != SELF}
            case Issued():
                self._take_in_credential(answer)
            case Refused():
                self._take_in_refusal(answer)
            case Probed():
                self._take_in_checkup(answer)
            case NoInstance():
                pass  # each call that needed it is refused for the same reason
            case _:
                assert_never(answer)

    def _take_in_credential(self, answer: Issued) -> None:
        now = self._clock.since_boot()
        before = self._standings.get(answer.call, Standing())
        standing = before.issued(answer, now, self._settings.renew, self._draw(), origin=self._origin(self._settings))
        self._standings[answer.call] = standing
        if standing.credential is not None:
            self._store.keep_credential(answer.call, standing.credential)
        self._tell_all([of_credential(answer, before, self._serves(answer.call))])
        self._told.forget("credential.refused", where(answer.call))

    def _take_in_refusal(self, answer: Refused) -> None:
        now = self._clock.since_boot()
        before = self._standings.get(answer.call, Standing())
        self._standings[answer.call] = before.refused(
            answer.refusal,
            now,
            started_at=self._started_at,
            floor=self._settings.renew.floor,
            draw=self._draw(),
            took=now - self._asked_at.get(answer.call, self._asked_at.get(replace(answer.call, region=SELF), now)),
        )
        self._tell_all([of_refusal(answer, before, self._serves(answer.call))])

    def _take_in_checkup(self, answer: Probed) -> None:
        call = next((each for each in self._standings if each.key == answer.tag), None)
        credential = self._standings[call].credential if call is not None else None
        asked_about = self._probed.pop((answer.host, answer.tag), None)
        if call is None or credential is None or credential.password != asked_about:
            return  # it is about one that was replaced meanwhile
        checkup = Checkup(credential.issued_at, self._clock.since_boot(), answer.refusal)
        self._checkups[answer.host, call] = checkup
        self._standings[call] = self._standings[call].checked(checkup, floor=self._settings.renew.floor)
        self._tell_all(of_checkup(answer.host, call, checkup))

    # --- events

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in self._told.news(events, self._clock.since_boot()):
            self._tell(event)

    def _tell_troubles(self, desired: Desired, files: Mapping[Destination, File], now: SinceBoot) -> None:
        troubles = of_troubles(desired, self._settings.destinations, files, self._standings, now)
        for event in self._told.troubles(troubles, now):
            self._tell(event)

    def _serves(self, call: Call) -> tuple[str, ...]:
        return served_by(call, self._desire(self._settings, self._instance))

    # --- couriers

    def _send(self, step: Send) -> None:
        before = self._deliveries.get(step.file.path) or Delivery(step.file)
        delivery = replace(before, file=step.file).sent(step.digests, step.errand.remove)
        # Known as ours before it can stand there: a keeper that dies in between must not take it for foreign.
        if delivery.delivered != before.delivered or delivery.file != before.file:
            self._store.keep_delivery(delivery)
        self._deliveries[step.file.path] = delivery
        self._couriers.send(step if self._watch else replace(step, errand=replace(step.errand, watch=False)))

    def _receive(self, returned: Returned) -> None:
        path, report, now = returned.sent.file.path, returned.report, self._clock.since_boot()
        if returned.watch is not None and self._watch is not None:
            self._watch(path, returned.watch)  # whatever became of the file meanwhile: a descriptor wants its end
        before = self._deliveries.get(path)
        if before is None:
            return
        after = before.reported(
            returned.sent.errand,
            report,
            digests=returned.sent.digests,
            now=now,
            wall=self._clock.wall().timestamp(),
            look_at=now + look_after(returned.sent.file, watched=returned.watch is not None),
        )
        self._deliveries[path] = after
        if (after.delivered, after.awaited, after.foreign) != (before.delivered, before.awaited, before.foreign):
            self._store.keep_delivery(after)
        self._tell_all(of_report(before, returned.sent.errand, report))
        if report.refusal is None:
            self._told.forget("login.refused", path)
