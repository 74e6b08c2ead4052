"""Who sees all that a host shows: gathers the evidence for the invariants, while things happen and at last."""

import base64
import json
import os
import re
import time
from pathlib import Path

from standin.registry import accepts
from tests.support.canary import Sampler
from tests.support.invariants import Destination, Evidence, broken
from tests.support.keeper import Keeper
from tests.support.truth import Held, Stands, Truth

_REGION = re.compile(r"\b[a-z]{2,}(?:-[a-z]+)+-\d\b")
_SAMPLED_EVERY = 0.02


class Witness:
    """Looks at the daemon of one host, and knows of its world what the files and AWS's books do not tell.

    By name: *destinations* are files, *labels* what status calls them, *foreign* what stood there before; those in
    *rewritten* a client writes in its own way, those in *unfit* are no documents, those in *out_of_reach* must not be
    looked at. By label: *hindered* cannot be written, *absent* are users that do not exist, *shadowed* (or a pair with
    the host) what a client passes over. By host: AWS refuses *refused*. *stand_ins* are keys that go with ours,
    *others* files that hold secrets and are nobody's business. *affected* tells which logins the fault touches.
    """

    def __init__(self, directory, aws):
        self.aws = aws
        self.directory = directory
        self.keeper = Keeper(directory, aws)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.credentials = directory / "keys"
        self.destinations, self.labels, self.foreign = {}, {}, {}
        self.secrets = []
        self.rewritten, self.unfit, self.out_of_reach = set(), set(), set()
        self.hindered, self.absent, self.shadowed = set(), set(), set()
        self.refused, self.given_though_altered = set(), set()
        self.stand_ins, self.others = set(), set()
        self.victim, self.registries, self.entries = {}, [], []
        self.affected = lambda _host, _at: True
        self.problem = False
        self.ends_with = None
        self.hurries = 0
        self._sampler = None
        self._seen, self._of_processes = set(), set()
        self._files = {}
        self.said = []

    @property
    def log(self):
        return self.keeper.log

    @property
    def pid(self):
        return self.keeper.process.pid

    def hold(self):
        """See that every invariant holds, at the latest when what is under way has come to its end."""
        ends_at = time.monotonic() + 30
        while found := broken(self.evidence()):
            if time.monotonic() > ends_at:
                raise AssertionError("\n".join([*found, f"{self.keeper.document}", *self.log.splitlines()[-40:]]))
            time.sleep(0.2)

    def evidence(self):
        """Return what is to be seen at this moment."""
        running = self.keeper.process.poll() is None
        dead = None
        if not running and self.ends_with is None:
            dead = f"it ended with {self.keeper.process.returncode}"
        document, truths = self.keeper.document, self.truths()
        return Evidence(
            destinations={
                name: Destination(
                    self.foreign[name],
                    read(path),
                    frozenset(self._files[name]),
                    name in self.rewritten,
                    name in self.unfit,
                )
                for name, path in self.destinations.items()
                if name not in self.out_of_reach
            },
            hosts=frozenset({*(host for host, _ in truths), *self.stand_ins}),
            places=self._places(),
            secrets=(*self.aws.secrets(), *self.secrets),
            left_over=tuple(self._left_over()),
            dead=dead,
            unaffected=frozenset(key for key in truths if not self.affected(*key)),
            truths=truths,
            document=document,
            is_telling=running,
            problem=self.problem,
            calls=tuple(self.aws.calls()),
            hurries=self.hurries,
        )

    def truths(self):
        """Return how every login that the settings ask for really is."""
        hosts = [self.victim["host"], *(each["host"] for each in self.registries)]
        return {(host, self.label(at)): self._truth(host, at) for host in hosts for at in self._labels()}

    def _labels(self):
        return [entry["path"] if "path" in entry else f"user:{entry['user']}" for entry in self.entries]

    def _truth(self, host, at):
        return Truth(
            held=self._held(host),
            stands=self._stands(host, at),
            refused=host in self.refused,
            hindered=at in self.hindered,
            shadowed=(host, at) in self.shadowed or at in self.shadowed,
            user=at not in self.absent,
        )

    def _held(self, host):
        region = region_of(host)
        given = [call for call in self.aws.calls(action="GetAuthorizationToken") if call.region == region]
        whole = (None, "latency", *(["rewrite"] if host in self.given_though_altered else []))
        if not [call for call in given if call.status == 200 and call.fault in whole]:
            return Held.NONE
        newest = self.aws.passwords(region)[-1]
        return Held.GOOD if newest.expires_at > time.time() + self.aws.world.clock_skew else Held.ENDED

    def _stands(self, host, at):
        name = next(name for name, label in self.labels.items() if label == at)
        reached = name in self.destinations and name not in self.out_of_reach
        text = (read(self.destinations[name]) if reached else None) or b"{}"
        try:
            document = json.loads(text)
            login = document.get("auths", {}).get(host)
        except (ValueError, AttributeError, RecursionError):  # no document
            return Stands.NOTHING
        if document.get("credHelpers", {}).get(host) == "ecrlogind":
            return Stands.OURS
        if login is None:
            return Stands.NOTHING
        try:
            user, _, password = base64.b64decode(login["auth"], validate=True).decode().partition(":")
        except (ValueError, KeyError, TypeError):
            return Stands.GARBLED
        if user != "AWS" or password not in {each.value for each in self.aws.passwords()}:
            return Stands.THEIRS
        return Stands.OURS if accepts(host, password, self.aws.world) else Stands.OURS_ENDED

    def _places(self):
        return {
            "the log": self.log.encode(),
            "the status": b"\0".join(self._seen),
            "arguments and environments": b"\0".join(
                {*self._of_processes, *(self._sampler.seen if self._sampler else ())}
            ),
            "what commands said": "\0".join(self.said).encode(),
            "files": b"\0".join(read(path) or b"" for path in self._files_around()),
        }

    def _files_around(self):
        """Yield all files that the daemon may have written, but those that are there for secrets."""
        meant = (self.directory / "aws", self.keeper.state / "credentials", self.keeper.state / "answers")
        known = {self.credentials, self.keeper.config, *self.destinations.values(), *self.others}
        for path in self._all_files():
            is_meant = path in known or any(path.is_relative_to(each) for each in meant)
            if not is_meant and path.is_file() and not path.is_symlink():
                yield path

    def _all_files(self):
        beyond = {self.destinations[name].parent for name in self.out_of_reach}
        for top in {self.directory, *(path.parent for path in self.destinations.values())} - beyond:
            for place, inside, names in os.walk(top):
                inside[:] = [each for each in inside if Path(place, each) not in beyond]
                yield from (Path(place, each) for each in names)

    def _left_over(self):
        yield from map(str, self.temporary.iterdir())
        yield from (str(path) for path in self._all_files() if path.name.startswith("core"))

    # --- the sampler's questions

    def _take(self):
        """Look at what others read meanwhile: the status, and the files."""
        if text := read(self.keeper.state / "status.json"):
            self._seen.add(text)
        for name, path in list(self.destinations.items()):
            if name not in self.out_of_reach | self.rewritten and (text := read(path)) is not None:
                self._files[name].add(text)
        return ()

    def _watch(self):
        self._sampler = Sampler(self.pid, self._take, every=_SAMPLED_EVERY)
        self._sampler.__enter__()

    def _unwatch(self):
        watched, self._sampler = self._sampler, None
        if watched is not None:
            watched.__exit__()
            self._of_processes |= watched.seen
        return watched is not None


def region_of(host):
    """Return the region of a registry's host."""
    return _REGION.search(host)[0]


def read(path):
    """Return what stands in a file, its first MiB; None if it cannot be told."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file.read(1 << 20)
    except OSError:
        return None
