"""What a status must say, worked out from the world alone: the oracle knows all and asks the program nothing.

It goes by what AWS gave and for how long, what stands in the files, who exists, and what became of whom was sent. The
words and their meaning are the design's. Where a moment leaves two words equally true it allows both.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import timedelta

ANY = frozenset({"in_place", "drifted", "foreign", "shadowed", "expired", "failed", "pending"})
BROKEN = {"expired", "failed", "shadowed"}
OBJECTIONS = ("invalid_keys", "pull_denied")


def verdict(states, registries):
    """Return the verdict of logins, each as (state, whether its user exists), and of the *registries*' states."""
    if any(state in BROKEN for state, _ in states):
        return "failing"
    if any(state == "drifted" or (state == "pending" and exists) for state, exists in states):
        return "degraded"
    return "degraded" if {"failing", "expired", "pending"} & set(registries) else "healthy"


def password_of(entry):
    """Return the password in an entry of ``auths``, None if there is none."""
    try:
        return base64.b64decode(entry["auth"], validate=True).decode().partition(":")[2] or None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def region_of(host):
    return host.split(".")[3]


@dataclass(frozen=True)
class Wanted:
    """One login that the settings ask for."""

    host: str
    user: str
    via: str
    replaces: bool


class Oracle:
    """The truth about a `tests.support.world.World` whose settings are *content*, all of whose roles are the host's."""

    def __init__(self, world, content):
        self._world = world
        self.adopt(content)

    def adopt(self, content):
        """Go by other settings: of what they no longer name, nobody remembers anything."""
        self.hosts = tuple(content["registries"])
        self.wanted = tuple(
            Wanted(host, each["user"], each.get("via", "file"), each.get("on_login") == "replace")
            for each in content["destinations"]
            for host in each.get("registries", self.hosts)
        )
        ecr = self._world.ecr
        regions = set(map(region_of, self.hosts))
        for call in [each for each in ecr.said if each.region not in regions]:
            del ecr.said[call]
        for key in [each for each in ecr.objections if each[0] not in self.hosts]:
            del ecr.objections[key]

    # --- what is so

    @property
    def now(self):
        return self._world.clock.up

    def held(self, region):
        """Return the password that is held for *region*, None if none is; where it lies is the world's to know."""
        kept = [each.password.reveal() for call, each in self._world.shelf.credentials.items() if call.region == region]
        return kept[0] if kept else None

    def ends_at(self, region):
        password = self.held(region)
        return self._world.ecr.lives[password][1] if password is not None else None

    def is_alive(self, password):
        issued_at, ends_at = self._world.ecr.lives[password]
        return issued_at <= self.now < ends_at

    def is_refused(self, region):
        """Whether the last word of AWS to this keeper was a refusal."""
        return any(code is not None for call, code in self._world.ecr.said.items() if call.region == region)

    def is_objected(self, host):
        """Whether the registry told this keeper that it does not take what is held."""
        return self._world.ecr.objections.get((host, self.held(region_of(host)))) in OBJECTIONS

    def path(self, user):
        account = self._world.accounts.users.get(user)
        return f"{account.home}/.docker/config.json" if account else None

    def standing(self, path):
        """Return what stands in the file at *path*, None if it is no config.json."""
        try:
            found = json.loads(self._world.homes.files.get(path) or "{}")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("auths", {}), dict) else None

    # --- what must be said

    def states(self):
        """Return the words that are true of each login, by (host, destination)."""
        return {(each.host, f"user:{each.user}"): self._state(each) for each in self.wanted}

    def registries(self):
        """Return the word that is true of each registry, by host."""
        return {host: self._registry(host) for host in self.hosts}

    def verdict(self):
        """Return the verdict, None where a login has more than one true word."""
        states = [(self._state(each), each.user in self._world.accounts.users) for each in self.wanted]
        if any(len(words) != 1 for words, _ in states):
            return None
        return verdict([(*words, exists) for words, exists in states], self.registries().values())

    def _registry(self, host):
        region = region_of(host)
        ends_at = self.ends_at(region)
        if ends_at is not None and ends_at <= self.now:
            return "expired"
        if self.is_refused(region) or (ends_at is not None and self.is_objected(host)):
            return "failing"
        if ends_at is None:
            return "pending"
        asked = any(call.region == region for call in self._world.issuers.asking)
        return "renewing" if asked else "issued"

    def _state(self, wanted):
        region, path = region_of(wanted.host), self.path(wanted.user)
        if path is None:
            return {"pending"}
        held = self.held(region)
        if held is None:
            return {"failed"} if self.is_refused(region) else {"pending"}
        if not self.is_alive(held) and wanted.via != "file":
            return {"expired"}
        if self.is_objected(wanted.host):
            return {"failed"}
        if wanted.via == "none":
            return {"in_place"}
        return self._delivered(wanted, path, held)

    def _delivered(self, wanted, path, held):
        homes = self._world.homes
        if path not in homes.came_back:
            return {"pending", "failed"} if path in homes.away else {"pending"}
        if path in homes.unseen:
            return ANY  # written since somebody looked: whoever is on the way will tell
        if homes.came_back[path] is not None:
            return {"failed"}
        found = self.standing(path)
        if found is None:
            return {"failed"}
        entry = found.get("auths", {}).get(wanted.host)
        if found.get("credHelpers", {}).get(wanted.host) == "ecrlogind":
            return {"in_place"} if wanted.via == "helper" else {"in_place", "pending"}
        if entry is None:
            return {"drifted", "pending"}
        password = password_of(entry)
        if password not in self._world.ecr.lives:
            return {"foreign"}
        if not self.is_alive(held):
            return {"expired"}
        if not self.is_alive(password):
            return {"expired", "pending"}
        shadowed = found.get("credsStore") and found.get("credHelpers", {}).get(wanted.host) != ""
        if password == held and wanted.via == "file":
            return {"shadowed"} if shadowed else {"in_place"}
        # An earlier one stands there, or one of another way of delivery; the next is on its way.
        return {"in_place", "shadowed", "pending"} if shadowed else {"in_place", "pending"}


def longest_wait(awake_since, reachable_since):
    """Return until when the keeper may take to notice that AWS is back: five minutes of being awake."""
    return max(awake_since, reachable_since) + timedelta(minutes=5, seconds=1)
