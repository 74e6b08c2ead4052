"""A World for the real reconcile: a clock, an ECR and homes that behave as the real ones, all in memory.

Nothing in it records calls for their own sake: tests look at what the world has become, as an operator would.
"""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ecrlogind.core import status
from ecrlogind.core.credential import Secret
from ecrlogind.core.dockerconfig import Unfit, Wish, find, merge
from ecrlogind.core.grammar import Document, parse
from ecrlogind.core.standing import Account
from ecrlogind.core.wire import SELF, Instance, Issued, NoInstance, Probed, Refusal, Refused, Report
from ecrlogind.keeper.reconcile import Reconciler

BOOTED_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)

A = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
B = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
C = "333333333333.dkr.ecr.us-east-1.amazonaws.com"


def settings_of(runs_as="root", **content):
    """Return the settings that a file with *content* makes."""
    return parse([Document("config.toml", content)], runs_as=runs_as)


class Clock:
    """Both clocks. Only `advance` moves the time since boot."""

    def __init__(self):
        self.up = timedelta(seconds=100)
        self.offset = timedelta(0)

    def since_boot(self):
        return self.up

    def wall(self):
        return BOOTED_AT + self.up + self.offset

    def advance(self, **span):
        self.up += timedelta(**span)

    def step(self, **span):
        """Set the wall clock, as NTP or a person would."""
        self.offset += timedelta(**span)


@dataclass
class Ecr:
    """AWS: who is refused, what it gave, whether it answers at all, and what the registries say of passwords."""

    instance: Instance | None = None
    lifetime: timedelta = timedelta(hours=12)
    refused: list = field(default_factory=list)
    hangs: bool = False
    given: list = field(default_factory=list)
    objects: Refusal | None = None
    revoked: set = field(default_factory=set)
    checked: list = field(default_factory=list)

    def refuse(self, code="service_error", when=lambda _call: True, **more):
        self.refused.append((when, Refusal(code, f"refused with {code}", "do something", **more)))

    def relent(self):
        self.refused.clear()

    def check(self, probe):
        """Say what the registry says of a password."""
        self.checked.append(probe.host)
        if probe.password.reveal() in self.revoked:
            return Probed(probe.host, Refusal("invalid_keys", "it is not taken", "wait"), probe.tag)
        return Probed(probe.host, self.objects, probe.tag)

    def answer(self, call):
        for when, refusal in self.refused:
            if when(call):
                return Refused(call, refusal)
        password = f"password-{len(self.given)}-of-{call.region}-for-{call.identity.label}"
        self.given.append((call, password))
        return Issued(call, "AWS", Secret(password), self.lifetime)


class Issuers:
    """Issuers that answer by the next pass, unless AWS hangs."""

    def __init__(self, ecr):
        self._ecr = ecr
        self._answers = []
        self._open = set()
        self.asked = []

    @property
    def asking(self):
        return frozenset(self._open)

    @property
    def probing(self):
        return frozenset()

    def ask(self, step, _settings):
        self._answers += [self._ecr.check(probe) for probe in step.probes]
        calls = step.calls
        if calls:
            self.asked.append(calls)
        known = self._ecr.instance
        if step.instance:
            missing = NoInstance(Refusal("imds_unreachable", "no metadata service answers", "run on EC2"))
            self._answers.append(known or missing)
        for call in calls:
            if call.region == SELF and known is None:
                refusal = Refusal("imds_unreachable", "no metadata service answers", "run on EC2")
                self._answers.append(Refused(call, refusal))
                continue
            resolved = replace(call, region=known.region) if call.region == SELF else call
            if self._ecr.hangs:
                self._open.add(resolved)
            else:
                self._answers.append(self._ecr.answer(resolved))

    def collect(self):
        if not self._ecr.hangs:
            self._answers += [self._ecr.answer(call) for call in self._open]
            self._open.clear()
        answers, self._answers = self._answers, []
        return answers


@dataclass
class Back:
    """A courier that came back."""

    sent: object
    report: Report
    watch: int | None = None


class Homes:
    """The files of the host, and couriers that really merge into them."""

    def __init__(self):
        self.files = {}
        self.closed = {}
        self.ready_for = []
        self.visits = []
        self._back = []
        self.slow = False
        self._out = {}

    @property
    def away(self):
        return frozenset(self._out)

    def ready(self, step):
        self.ready_for.append(step.file.path)

    def send(self, step):
        self.visits.append(step.file.path)
        self._out[step.file.path] = step
        if not self.slow:
            self._deliver(step)

    def collect(self):
        if not self.slow:
            for step in list(self._out.values()):
                self._deliver(step)
        back, self._back = self._back, []
        return back

    def _deliver(self, step):
        del self._out[step.file.path]
        self._back.append(Back(step, self._visit(step.errand)))

    def _visit(self, errand):
        if refusal := self.closed.get(errand.path):
            return Report(refusal=refusal)
        wish = Wish(
            {host: auth.reveal() for host, auth in errand.logins.items()},
            errand.helpers,
            errand.remove,
            errand.delivered,
            errand.expelled,
            errand.replace,
        )
        text = self.files.get(errand.path, "")
        try:
            found = find(text, wish)
            merged = merge(text, wish)
        except Unfit as unfit:
            return Report(refusal=Refusal(unfit.code, str(unfit), unfit.hint))
        self.files[errand.path] = merged
        return Report(found, changed=merged is not text)


class Accounts:
    """The users of the host."""

    def __init__(self, *names):
        self.users = {}
        self.keeper = "root"
        for name in names:
            self.create(name)

    def create(self, name, home=None):
        uid = 0 if name == "root" else 1000 + len(self.users)
        self.users[name] = Account(name, uid, uid, (uid,), home or ("/root" if name == "root" else f"/home/{name}"))

    def find(self, name):
        return self.users.get(name)

    def group(self, name):
        return self.users[name].gid if name in self.users else None

    def ourselves(self):
        return self.users[self.keeper]


class Shelf:
    """What survives the keeper."""

    def __init__(self):
        self.credentials = {}
        self.deliveries = {}
        self.instance = None

    def keep_instance(self, instance):
        self.instance = instance

    def keep_credential(self, call, credential):
        self.credentials[call] = credential

    def forget_credential(self, call):
        self.credentials.pop(call, None)

    def keep_delivery(self, delivery):
        self.deliveries[delivery.file.path] = delivery

    def forget_delivery(self, path):
        self.deliveries.pop(path, None)


class World:
    """A host with its keeper."""

    def __init__(self, settings=None, users=("root", "ci"), **content):
        self.clock = Clock()
        self.ecr = Ecr()
        self.homes = Homes()
        self.accounts = Accounts(*users)
        self.shelf = Shelf()
        self.events = []
        self.settings = settings or settings_of(**content)
        self.start()

    def start(self):
        """Start a keeper on what the last one left, as systemd would."""
        self.issuers = Issuers(self.ecr)
        self.reconciler = Reconciler(
            self.settings,
            issuing=self.issuers,
            couriers=self.homes,
            accounts=self.accounts,
            store=self.shelf,
            clock=self.clock,
            tell=self.events.append,
            draw=lambda: 0.5,
            watch=lambda _path, _descriptor: None,
        )
        # The found and confirmed of a delivery are not kept: a new keeper looks for itself.
        left = [
            replace(each, found=None, confirmed={}, look_at=timedelta(0)) for each in self.shelf.deliveries.values()
        ]
        self.reconciler.restore(dict(self.shelf.credentials), left, self.shelf.instance)

    def settle(self, most=20):
        """Run passes until nobody is out and nothing is due; return when the next pass is due."""
        for _ in range(most):
            next_at = self.reconciler.run_pass()
            quiet = not self.homes._back and not self.issuers._answers and not self.reconciler.busy
            if quiet and next_at > self.clock.up:
                return next_at
            if self.reconciler.busy and not self.homes._back and not self.issuers._answers:
                return next_at
        raise AssertionError("the passes never come to rest")

    def live(self, *, hours=0, minutes=0, seconds=0, tick=timedelta(seconds=30)):
        """Let time go by, with a pass when one is due and at every tick."""
        until = self.clock.up + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        while True:
            next_at = self.settle()
            if self.clock.up >= until:
                return
            self.clock.up = min(max(next_at, self.clock.up + timedelta(seconds=0.01)), self.clock.up + tick, until)

    def adopt(self, **content):
        self.settings = settings_of(**content)
        self.reconciler.adopt(self.settings)

    @property
    def document(self):
        facts = self.reconciler.facts()
        return status.document(facts, ready=True, pid=1, started_at=BOOTED_AT, problem=None)

    def states(self):
        """Return the state of each login by (host, destination)."""
        return {(login["host"], login["destination"]): login["state"] for login in self.document["logins"]}

    def auths(self, path="/root/.docker/config.json"):
        return json.loads(self.homes.files.get(path) or "{}").get("auths", {})

    def told(self, name):
        return [event for event in self.events if event.name == name]
