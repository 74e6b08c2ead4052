"""What a keeper has around it, all in memory: clocks, AWS, issuers, homes, users, and what survives the keeper.

Each behaves as the real one. What an oracle needs to know of them (which password AWS gave until when, what stands in
which file, what became of whom was sent) they tell by themselves: none of it is asked of the program.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ecrlogind.core.credential import Secret
from ecrlogind.core.delivery import Account
from ecrlogind.core.dockerconfig import Unfit, Wish, find, merge
from ecrlogind.core.wire import SELF, Instance, Issued, NoInstance, Probed, Refusal, Refused, Report

BOOTED_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


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


class KilledError(BaseException):
    """The keeper was killed: no code of its own runs any more, whatever it catches."""


@dataclass
class Ecr:
    """AWS: who is refused, what it gave, whether it answers at all, and what the registries say of passwords.

    *lives* says of each password from when to when it is good, *said* what each call of the keeper that runs was
    answered (the code of a refusal, or None), *objections* the same of registries and passwords, *tries* when each call
    was asked. An issuer gives up after *deadline*.
    """

    clock: Clock = field(default_factory=Clock)
    deadline: timedelta | None = None
    lives: dict = field(default_factory=dict)
    said: dict = field(default_factory=dict)
    objections: dict = field(default_factory=dict)
    tries: list = field(default_factory=list)
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
        refusal = self.objects
        if probe.password.reveal() in self.revoked:
            refusal = Refusal("invalid_keys", "it is not taken", "wait")
        self.objections[probe.host, probe.password.reveal()] = refusal.code if refusal else None
        return Probed(probe.host, refusal, probe.tag)

    def answer(self, call):
        for when, refusal in self.refused:
            if when(call):
                return Refused(call, refusal)
        password = f"password-{len(self.given)}-of-{call.region}-for-{call.identity.label}"
        self.given.append((call, password))
        self.lives[password] = self.clock.up, self.clock.up + self.lifetime
        return Issued(call, "AWS", Secret(password), self.lifetime)


class Issuers:
    """Issuers that answer by the next pass, unless AWS hangs."""

    def __init__(self, ecr):
        self._ecr = ecr
        self._answers = []
        self._open = {}
        self.asked = []

    @property
    def asking(self):
        return frozenset(self._open)

    @property
    def gives_up_at(self):
        """When the first of those that are out gives up."""
        if self._ecr.deadline is None:
            return timedelta.max
        return min(self._open.values(), default=timedelta.max - self._ecr.deadline) + self._ecr.deadline

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
            assert resolved not in self._open, "asked again while it is being asked"
            self._ecr.tries.append((self._ecr.clock.up, resolved))
            if self._ecr.hangs:
                self._open[resolved] = self._ecr.clock.up
            else:
                self._answers.append(self._ecr.answer(resolved))

    def collect(self):
        if not self._ecr.hangs:
            self._answers += [self._ecr.answer(call) for call in self._open]
            self._open.clear()
        elif self.gives_up_at <= self._ecr.clock.up:
            late = [call for call, at in self._open.items() if at + self._ecr.deadline <= self._ecr.clock.up]
            self._answers += [Refused(call, Refusal("deadline", "no answer in time", "wait")) for call in late]
            self._open = {call: at for call, at in self._open.items() if call not in late}
        answers, self._answers = self._answers, []
        for answer in answers:
            if isinstance(answer, Issued | Refused):
                self._ecr.said[answer.call] = answer.refusal.code if isinstance(answer, Refused) else None
        return answers


@dataclass
class Back:
    """A courier that came back."""

    sent: object
    report: Report
    watch: int | None = None


class Homes:
    """The files of the host, and couriers that really merge into them.

    A courier to a file in *hung* comes back at its deadline with a refusal; while *slow*, none comes back at all. With
    *watching*, each leaves a watch in *watched*. *unseen* are files that were written since a courier looked.
    *came_back* says of each file with which refusal, or None, the last courier came back to the keeper that runs.
    """

    def __init__(self, clock, *, watching=False):
        self.clock = clock
        self.watching = watching
        self.files = {}
        self.closed = {}
        self.ready_for = []
        self.hung = set()
        self.watched = set()
        self.unseen = set()
        self.came_back = {}
        self.visits = []
        self._back = []
        self.slow = False
        self._out = {}

    @property
    def away(self):
        return frozenset(self._out)

    @property
    def gives_up_at(self):
        """When the first of those that hang gives up."""
        out = () if self.slow else self._out.values()
        return min((at + step.errand.deadline for step, at in out), default=timedelta.max)

    def ready(self, step):
        self.ready_for.append(step.file.path)

    def send(self, step):
        path = step.file.path
        assert path not in self._out, "two couriers for one file"
        self.visits.append(path)
        self._out[path] = step, self.clock.up
        if not self.slow and path not in self.hung:
            self._deliver(step)

    def collect(self):
        for path, (step, at) in () if self.slow else list(self._out.items()):
            if path not in self.hung:
                self._deliver(step)
            elif at + step.errand.deadline <= self.clock.up:
                del self._out[path]
                self._back.append(Back(step, Report(refusal=Refusal("deadline", "the file system hangs", "mend it"))))
        back, self._back = self._back, []
        for each in back:
            self.came_back[each.sent.file.path] = each.report.refusal
        return back

    def forget(self):
        """Lose every courier that is out: whoever sent them is no more."""
        self._out.clear()
        self._back.clear()
        self.came_back.clear()
        self.watched.clear()

    def _deliver(self, step):
        del self._out[step.file.path]
        self._back.append(Back(step, self._visit(step.errand), 0 if self.watching and step.errand.watch else None))

    def _visit(self, errand):
        self.unseen.discard(errand.path)
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
    """What survives the keeper. With *fatal*, the keeper is killed before its so-many-th write from now."""

    def __init__(self):
        self.credentials = {}
        self.deliveries = {}
        self.instance = None
        self.fatal = None

    def _survive(self):
        if self.fatal is not None:
            self.fatal -= 1
            if self.fatal <= 0:
                raise KilledError

    def keep_instance(self, instance):
        self._survive()
        self.instance = instance

    def keep_credential(self, call, credential):
        self._survive()
        self.credentials[call] = credential

    def forget_credential(self, call):
        self._survive()
        self.credentials.pop(call, None)

    def keep_delivery(self, delivery):
        self._survive()
        self.deliveries[delivery.file.path] = delivery

    def forget_delivery(self, path):
        self._survive()
        self.deliveries.pop(path, None)
