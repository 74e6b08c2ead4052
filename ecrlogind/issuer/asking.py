"""One question from end to end: all its parts side by side, each answered as soon as it is known."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import SELF, Answer, Call, Instance, Issued, NoInstance, Probe, Probed, Question, Refused
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.instance import Metadata, endpoint
from ecrlogind.issuer.network import Network
from ecrlogind.issuer.once import Once
from ecrlogind.issuer.process import Processes, set_environment
from ecrlogind.issuer.proxies import Proxies
from ecrlogind.issuer.refusals import Failed, failed
from ecrlogind.issuer.signs import Signs
from ecrlogind.issuer.tokens import laid_out
from ecrlogind.issuer.transport import Transport

if TYPE_CHECKING:
    from ecrlogind.core.identity import Identity
    from ecrlogind.issuer.ecr import Ecr

# Threads wait, they hardly work. More parts than this wait their turn.
MOST_AT_ONCE = 256
# What a part that ends at its deadline may take to say so, in seconds, before it is answered for.
GRACE = 0.5

Part = Call | Probe | None  # None: which instance this is


class Asking:
    """The state of one question. *emit* is called in the thread that calls `run`, with one answer at a time."""

    def __init__(self, question: Question, emit: Callable[[Answer], None]) -> None:
        self._question = question
        self._emit = emit
        self._deadline = Deadline(question.deadline)
        self._signs = Signs(question)
        # An empty bundle is a bundle: it trusts nobody.
        ca = question.aws.ca if question.aws.ca is not None else question.files.get("AWS_CA_BUNDLE")
        files = {**question.files, "AWS_CA_BUNDLE": ca} if ca is not None else question.files
        self._processes = Processes(set_environment(question.environment, question.aws, laid_out(files)))
        self._transport = Transport(self._deadline, Proxies(question.aws.proxy, question.environment), ca)
        self._metadata = Metadata(
            endpoint(question.aws, question.environment), self._deadline, disabled=self._signs.forbid_instance
        )
        self._network = Network(self._deadline)
        self._instance: Once[Instance] = Once(self._tell_instance)
        self._ecr: Once[Ecr] = Once(self._load)
        wants_instance = question.instance or any(call.region == SELF for call in question.calls)
        self._wants_instance = wants_instance
        self._parts: tuple[Part, ...] = (*([None] if wants_instance else []), *question.calls, *question.probes)
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        # Answers, and the numbers of the parts that are done.
        self._said: queue.SimpleQueue[Answer | int] = queue.SimpleQueue()
        self._taken: set[Call] = set()
        self._taking = threading.Lock()
        self._crashed = False

    def run(self) -> bool:
        """Emit every answer, at the latest a moment after the deadline; return whether all parts ran as they should."""
        for number in range(len(self._parts)):
            self._waiting.put(number)
        for running in range(min(MOST_AT_ONCE, len(self._parts))):
            try:
                threading.Thread(target=self._work, daemon=True).start()
            except RuntimeError:  # so it tells EAGAIN: those that run do the work of all
                if not running:
                    raise
                break
        open_parts = set(range(len(self._parts)))
        answered: set[object] = set()
        while open_parts:
            try:
                said = self._said.get(timeout=max(0.0, self._deadline.at + GRACE - time.monotonic()))
            except queue.Empty:
                if time.monotonic() < self._deadline.at:
                    continue  # it has begun to count meanwhile
                self._answer_for(open_parts, answered)
                break
            if isinstance(said, int):
                open_parts.remove(said)
                continue
            answered.add(_subject(said))
            self._emit(said)
        self._processes.end()
        return not self._crashed

    def _work(self) -> None:
        while True:
            try:
                number = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._find_out(self._parts[number])
            except Exception:  # noqa: BLE001  whatever it is, the other parts go on
                # A bug, or no memory left. It costs its own part alone: the keeper sees that this has no answer.
                self._crashed = True
                sys.excepthook(*sys.exc_info())
            finally:
                self._said.put(number)

    def _find_out(self, part: Part) -> None:
        match part:
            case Call():
                self._issue(part)
            case Probe():
                from ecrlogind.issuer.probe import probe

                self._said.put(
                    Probed(
                        part.host, probe(part, self._transport, self._question.aws.endpoints.get("registry")), part.tag
                    )
                )
            case None:
                self._told_instance()

    def _issue(self, call: Call) -> None:
        try:
            if call.region == SELF:
                call = replace(call, region=self._instance().region)
            with self._taking:
                if call in self._taken:
                    return  # another call has turned out to be this one
                self._taken.add(call)
            self._wait_for_network(call)
            self._said.put(self._ecr().issue(call))
        except Failed as failure:
            self._said.put(Refused(call, failure.refusal))

    def _wait_for_network(self, call: Call) -> None:
        """Return when there is one, having loaded next to nothing; raise Failed."""
        if self._signs.end_at_instance(call.identity):
            if self._wants_instance:
                self._told_instance()
            self._metadata.token()
        elif place := self._transport.first_hop(self._signs.endpoint(call)):
            self._network.wait_for(*place)

    def _tell_instance(self) -> Instance:
        try:
            instance = self._metadata.document()
        except Failed as failure:
            self._said.put(NoInstance(failure.refusal))
            raise
        self._said.put(instance)
        return instance

    def _told_instance(self) -> Instance | None:
        try:
            return self._instance()
        except Failed:
            return None

    def _load(self) -> Ecr:
        """Load boto3, which takes most of the time that an answer takes."""
        import ecrlogind
        from ecrlogind.issuer.chain import Chain
        from ecrlogind.issuer.ecr import Ecr

        agent = f"ecrlogind/{ecrlogind.__version__} host/{self._host_name()}"
        chain = Chain(self._transport, self._metadata, self._processes, agent)
        return Ecr(chain, lambda: f"ecrlogind-{self._host_name()}", self._sts_region)

    def _host_name(self) -> str:
        """Return what tells this host from others, fit for a role's session name."""
        name = os.uname().nodename
        if self._metadata.token.so_far():
            with suppress(Failed):  # what a container platform has in its place knows no instance
                name = self._metadata.document().id
        return "".join(c if c.isascii() and (c.isalnum() or c in ".-") else "-" for c in name)[:50]

    def _sts_region(self, identity: Identity) -> str:
        """Return where roles of *identity* are assumed: at home if it is used there, else where it is used first."""
        instance = self._metadata.document.so_far()
        home = instance.region if instance else None
        for calls in (
            [call for call in self._question.calls if call.identity == identity],
            [call for call in self._question.calls if call.identity.profile == identity.profile],
        ):
            regions = [home if call.region == SELF else call.region for call in calls]
            found = [region for region in regions if region is not None]
            if found:
                return home if home in found else found[0]
        raise AssertionError("an identity that no call has")

    def _answer_for(self, parts: set[int], answered: set[object]) -> None:
        """Say of each of *parts* that its time is over. They hang where no thread can be ended: in a resolver."""
        for answer in (self._late(self._parts[number]) for number in sorted(parts)):
            if _subject(answer) not in answered:
                answered.add(_subject(answer))
                self._emit(answer)

    def _late(self, part: Part) -> Answer:
        instance = self._metadata.document.so_far()
        span = f"{self._question.deadline.total_seconds():g} seconds"
        match part:
            case Call():
                call = replace(part, region=instance.region) if instance and part.region == SELF else part
                who = f"{call.identity.label} in {call.region}"
                return Refused(call, failed(Code.DEADLINE, f"no credential for {who} in {span}").refusal)
            case Probe():
                late = failed(Code.DEADLINE, f"{part.host} said nothing in {span}")
                return Probed(part.host, late.refusal, part.tag)
            case None:
                return instance or NoInstance(failed(Code.IMDS_UNREACHABLE, f"IMDS said nothing in {span}").refusal)


def _subject(answer: Answer) -> object:
    """Return what *answer* is about: nothing is answered twice."""
    match answer:
        case Issued() | Refused():
            return answer.call
        case Probed():
            return answer.host, answer.tag
        case Instance() | NoInstance():
            return None
