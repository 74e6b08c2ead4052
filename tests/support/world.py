"""A World for the real reconcile: a clock, an ECR and homes that behave as the real ones, all in memory.

Nothing in it records calls for their own sake: tests look at what the world has become, as an operator would.
"""

import json
from dataclasses import replace
from datetime import timedelta

from ecrlogind.core import status
from ecrlogind.core.grammar import Document, parse
from ecrlogind.keeper.reconcile import Reconciler
from tests.support.surroundings import BOOTED_AT, Accounts, Clock, Ecr, Homes, Issuers, Shelf

A = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
B = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
C = "333333333333.dkr.ecr.us-east-1.amazonaws.com"


def settings_of(runs_as="root", **content):
    """Return the settings that a file with *content* makes."""
    return parse([Document("config.toml", content)], runs_as=runs_as)


class World:
    """A host with its keeper."""

    def __init__(self, settings=None, users=("root", "ci"), *, draw=lambda: 0.5, watching=False, **content):
        self.clock = Clock()
        self.ecr = Ecr(self.clock)
        self.homes = Homes(self.clock, watching=watching)
        self.draw = draw
        self.accounts = Accounts(*users)
        self.shelf = Shelf()
        self.events = []
        self.settings = settings or settings_of(**content)
        self.start()

    def start(self):
        """Start a keeper on what the last one left, as systemd would."""
        self.issuers = Issuers(self.ecr)
        self.ecr.said.clear()
        self.ecr.objections.clear()
        self.homes.forget()
        self.shelf.fatal = None
        self.reconciler = Reconciler(
            self.settings,
            issuing=self.issuers,
            couriers=self.homes,
            accounts=self.accounts,
            store=self.shelf,
            clock=self.clock,
            tell=self.events.append,
            draw=self.draw,
            watch=lambda path, _descriptor: self.homes.watched.add(path),
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

    def live(self, *, hours=0, minutes=0, seconds=0, tick=timedelta(seconds=30), look=lambda: None):
        """Let time go by, with a pass when one is due, when somebody gives up and at every tick; *look* at each."""
        until = self.clock.up + timedelta(hours=hours, minutes=minutes, seconds=seconds)
        while True:
            next_at = min(self.settle(), self.issuers.gives_up_at, self.homes.gives_up_at)
            look()
            if self.clock.up >= until:
                return
            self.clock.up = min(max(next_at, self.clock.up + timedelta(seconds=0.01)), self.clock.up + tick, until)

    def write(self, path, text):
        """Let somebody write a file, or remove it; where a courier left a watch, the keeper hears of it."""
        if text is None:
            self.homes.files.pop(path, None)
        else:
            self.homes.files[path] = text
        self.homes.unseen.add(path)
        if path in self.homes.watched:
            self.homes.watched.discard(path)
            self.reconciler.look(path)

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
