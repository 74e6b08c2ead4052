"""The life of a host, as Hypothesis makes it up: whatever happens in whatever order, what must hold does.

The reconcile is the real one. After every rule, and at every pass while time goes by, the status is what the oracle
says, no login is expired that AWS would have renewed, AWS was called no more often than the bound, and whatever others
wrote into a file stands there.
"""

import base64
import json
import random
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ecrlogind.core.wire import Refusal
from tests.support.bounded import examples
from tests.support.oracle import Oracle, longest_wait, password_of, region_of
from tests.support.surroundings import KilledError
from tests.support.world import A, B, C, World

HOSTS = (A, B, C)
REGIONS = tuple(dict.fromkeys(map(region_of, HOSTS)))
USERS = ("root", "ci", "late")
FLOOR = timedelta(seconds=60)
FOREIGN_LIFE = timedelta(hours=12)

CONTENTS = (
    {"registries": [A, B, C], "destinations": [{"user": "root"}, {"user": "ci"}, {"user": "late"}]},
    {"registries": [A, C], "destinations": [{"user": "root"}, {"user": "ci", "via": "helper"}]},
    {
        "registries": [A, B],
        "destinations": [
            {"user": "root", "registries": [A]},
            {"user": "late", "on_login": "replace"},
            {"user": "ci", "via": "none"},
        ],
    },
)
SPANS = tuple(
    timedelta(seconds=seconds) for seconds in (1, 20, 120, 660, 3600, 3 * 3600, 6 * 3600 - 60, 13 * 3600, 25 * 3600)
)
STEPS = tuple(timedelta(seconds=seconds) for seconds in (2, -2, 3 * 3600, -3 * 3600, 365 * 86400, -365 * 86400))
LIVES = (timedelta(seconds=90), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=12))
GARBAGE = ("{", "[]", '{"auths": []}', "\ufeff{}", '{"a": 1, "a": 2}', '{"auths": {"quay.io": {}}} x', "[" * 2000)

users, hosts = st.sampled_from(USERS), st.sampled_from(HOSTS)


class Life(RuleBasedStateMachine):
    """One host: its keeper, its AWS, its users and what they do to their files."""

    @initialize(seed=st.integers(0, 2**32 - 1), content=st.sampled_from(CONTENTS))
    def boot(self, seed, content):
        self.world = World(users=("root", "ci"), draw=random.Random(seed).random, watching=True, **content)
        self.world.ecr.deadline = timedelta(seconds=20)
        self.oracle = Oracle(self.world, content)
        self.content = content
        self.troubles = {}
        self.reachable_since = dict.fromkeys(REGIONS, self.world.clock.up)
        self.awake_since = self.wanted_since = self.world.clock.up
        # What others wrote: whole documents without anything of ours, and logins of theirs under our hosts.
        self.theirs = {}
        self.strangers = {}
        # What makes up for tries: new starts, reloads, outages; and when a credential may come sooner than the floor.
        self.occasions = 1
        self.reset_at = self.world.clock.up
        self.rest()

    # --- time

    @rule(span=st.sampled_from(SPANS))
    def time_goes_by(self, span):
        tick = max(timedelta(seconds=30), span / 60)
        self.world.live(seconds=span.total_seconds(), tick=tick, look=self.look)

    @rule(span=st.sampled_from(SPANS))
    def the_host_sleeps(self, span):
        self.world.clock.advance(seconds=span.total_seconds())
        self.awake_since = self.world.clock.up
        self.rest()

    @rule(step=st.sampled_from(STEPS))
    def somebody_sets_the_clock(self, step):
        self.note_ends()
        self.world.clock.step(seconds=step.total_seconds())
        self.rest()

    # --- AWS

    @rule(
        region=st.sampled_from(REGIONS),
        code=st.sampled_from(["service_error", "access_denied", "throttled", "no_network", "expired_on_arrival"]),
        wait=st.sampled_from([None, 1, 100, 4000]),
    )
    def aws_refuses(self, region, code, wait):
        retry_after = timedelta(seconds=wait) if wait else None
        self.troubles[region] = code, retry_after
        self.tell_aws()

    @rule()
    def aws_hangs(self):
        self.world.ecr.hangs = True
        self.tell_aws()

    @precondition(lambda self: self.troubles or self.world.ecr.hangs)
    @rule()
    def aws_is_back(self):
        self.troubles.clear()
        self.world.ecr.hangs = False
        self.tell_aws()

    @rule()
    def all_is_well_again(self):
        self.world.homes.closed.clear()
        self.world.homes.hung.clear()
        self.troubles.clear()
        self.world.ecr.hangs = False
        self.tell_aws()

    @rule(life=st.sampled_from(LIVES))
    def aws_gives_other_lives(self, life):
        self.world.ecr.lifetime = life
        self.rest()

    @precondition(lambda self: self.world.ecr.given)
    @rule(which=st.integers(0, 2))
    def aws_revokes(self, which):
        self.world.ecr.revoked.update(password for _, password in self.world.ecr.given[-1 - which :])
        self.reset_at = self.world.clock.up + timedelta(hours=2)
        self.rest()

    def tell_aws(self):
        ecr, now = self.world.ecr, self.world.clock.up
        ecr.relent()
        for region, (code, retry_after) in self.troubles.items():
            ecr.refuse(code, when=lambda call, region=region: call.region == region, retry_after=retry_after)
        for region in REGIONS:
            if region in self.troubles or ecr.hangs:
                self.occasions += self.reachable_since[region] is not None
                self.reachable_since[region] = None
            elif self.reachable_since[region] is None:
                self.reachable_since[region] = now
        self.rest()

    # --- the files, and what others do to them

    @rule(user=users, host=hosts, ends_in=st.sampled_from([None, None, timedelta(hours=1), timedelta(days=9)]))
    def a_job_logs_in(self, user, host, ends_in):
        path = self.path(user)
        if (found := self.readable(path)) is None:
            return
        ends = int((self.world.clock.wall() + ends_in).timestamp()) if ends_in else None
        secret = base64.b64encode(json.dumps({"expiration": ends}).encode()).decode() if ends else "a-job-s-own"
        entry = {"auth": base64.b64encode(f"AWS:{secret}".encode()).decode()}
        before = found.get("auths", {}).get(host, {})
        # What a job overwrites is what it must find again in the end; a place that we never had is ours to take first.
        ours = password_of(before) in self.world.ecr.lives and self.is_well(path)
        kept = (path, host) in self.strangers and self.is_well(path)
        found.setdefault("auths", {})[host] = entry
        self.strangers.pop((path, host), None)
        if self.is_delivered(user, host) and (ours or kept):
            self.strangers[path, host] = (entry, self.world.clock.up + FOREIGN_LIFE, ends)
        self.put(path, found)

    @rule(user=users, host=hosts)
    def a_job_logs_out(self, user, host):
        path = self.path(user)
        if (found := self.readable(path)) is None or host not in found.get("auths", {}):
            return
        del found["auths"][host]
        self.strangers.pop((path, host), None)
        self.put(path, found)

    @rule(user=users, key=st.sampled_from(["quay.io", f"{A}/team", "HttpHeaders"]), number=st.integers(0, 9))
    def somebody_writes_something_else(self, user, key, number):
        path = self.path(user)
        if (found := self.readable(path)) is None:
            return
        if key == "HttpHeaders":
            found[key] = {"X": str(number)}
        else:
            found.setdefault("auths", {})[key] = {"auth": base64.b64encode(f"u:{number}".encode()).decode()}
        self.put(path, found)

    @rule(user=users, is_on=st.booleans())
    def somebody_uses_a_store(self, user, is_on):
        path = self.path(user)
        if (found := self.readable(path)) is None:
            return
        found.pop("credsStore", None)
        self.put(path, {**found, "credsStore": "pass"} if is_on else found)

    @rule(user=users, text=st.sampled_from(GARBAGE))
    def a_file_is_garbled(self, user, text):
        if path := self.path(user):
            self.forget_strangers(path)
            self.theirs[path] = text
            self.world.write(path, text)
            self.rest()

    @rule(user=users)
    def a_file_is_mended(self, user):
        path = self.path(user)
        if path and self.oracle.standing(path) is None:
            self.put(path, {"auths": {"quay.io": {"auth": "bWU6bWU="}}})

    @rule(user=users)
    def a_file_is_removed(self, user):
        if path := self.path(user):
            self.forget_strangers(path)
            self.theirs.pop(path, None)
            self.world.write(path, None)
            self.rest()

    @rule(user=users)
    def a_file_cannot_be_written(self, user):
        if path := self.path(user):
            self.world.homes.closed[path] = Refusal("read_only", "nothing can be written there", "mount it writable")
            self.rest()

    @rule(user=users)
    def a_file_server_hangs(self, user):
        if path := self.path(user):
            self.world.homes.hung.add(path)
            self.rest()

    @rule()
    def files_are_well_again(self):
        self.world.homes.closed.clear()
        self.world.homes.hung.clear()
        self.rest()

    # --- the keeper and the users

    @rule(writes=st.integers(1, 6), span=st.sampled_from(SPANS))
    def the_keeper_is_killed(self, writes, span):
        """Kill it before one of its next writes, or after a while at whatever it is at."""
        self.world.shelf.fatal = writes
        with suppress(KilledError):
            self.world.live(seconds=span.total_seconds(), tick=max(timedelta(seconds=30), span / 60))
        self.world.start()
        self.occasions += 1
        self.reset_at = self.world.clock.up
        self.rest()

    @rule(content=st.sampled_from(CONTENTS))
    def the_settings_are_others(self, content):
        self.content = content
        self.world.adopt(**content)
        self.world.reconciler.hurry()
        self.oracle.adopt(content)
        for key in [each for each in self.strangers if not self.is_delivered(self.user(each[0]), each[1])]:
            del self.strangers[key]
        self.occasions += 1
        self.reset_at = self.wanted_since = self.world.clock.up
        self.rest()

    @rule(user=st.sampled_from(USERS[1:]))
    def a_user_comes(self, user):
        if user not in self.world.accounts.users:
            self.world.accounts.create(user)
            self.rest()

    @rule(user=st.sampled_from(USERS[1:]), take_home_along=st.booleans())
    def a_user_leaves(self, user, take_home_along):
        path = self.path(user)
        if path is None:
            return
        del self.world.accounts.users[user]
        self.forget_strangers(path)
        self.world.settle()
        self.world.homes.came_back.pop(path, None)
        if take_home_along:
            self.theirs.pop(path, None)
            self.world.homes.files.pop(path, None)
        self.rest()

    # --- what must hold

    @invariant()
    def aws_is_not_hammered(self):
        """Allow as many tries as the design's waits come to, half as many again, for every start and outage."""
        ecr, lived = self.world.ecr, (self.world.clock.up - timedelta(seconds=100)).total_seconds()
        for region in REGIONS:
            tries = sum(call.region == region for _, call in ecr.tries)
            given = sum(call.region == region for call, _ in ecr.given)
            eager = min(lived, 660 * self.occasions + 1800 * (given + 1))
            assert tries <= given + 25 * self.occasions + 1.5 * (eager / 15 + lived / 150), (tries, given, eager, lived)

    @invariant()
    def no_credential_is_issued_twice_within_the_floor(self):
        lives = self.world.ecr.lives
        for region in REGIONS:
            given = [lives[password][0] for call, password in self.world.ecr.given if call.region == region][-2:]
            if len(given) == 2 and given[0] > self.reset_at:
                assert given[1] - given[0] >= FLOOR

    def look(self):
        """Look at a host that is at rest: nobody is out but whom AWS or a file server holds."""
        self.note_ends()
        document = self.world.document
        said = {(each["host"], each["destination"]): each["state"] for each in document["logins"]}
        true = self.oracle.states()
        assert said.keys() == true.keys()
        assert {where: (said[where], true[where]) for where in said if said[where] not in true[where]} == {}
        assert {each["host"]: each["state"] for each in document["registries"]} == self.oracle.registries()
        assert document["verdict"] == (self.oracle.verdict() or document["verdict"])
        for each in document["registries"]:
            ends_at = self.oracle.ends_at(region_of(each["host"]))
            wall = None if ends_at is None else self.world.clock.wall() + (ends_at - self.world.clock.up)
            assert each["expires_at"] == (wall and wall.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.no_login_is_expired_that_could_have_been_renewed()
        self.what_is_well_says_the_newest()
        for path in self.world.homes.files:
            self.nothing_of_theirs_is_lost(path)

    def no_login_is_expired_that_could_have_been_renewed(self):
        for region in set(map(region_of, self.oracle.hosts)):
            since = self.reachable_since[region]
            if since is None or self.world.clock.up <= longest_wait(max(self.awake_since, self.wanted_since), since):
                continue
            held = self.oracle.held(region)
            assert held is not None
            assert self.oracle.is_alive(held)

    def what_is_well_says_the_newest(self):
        for each in self.oracle.wanted:
            path = self.path(each.user)
            held = self.oracle.held(region_of(each.host))
            if path is None or not self.is_well(path) or held is None or each.via == "none":
                continue
            found = self.oracle.standing(path)
            if each.via == "helper":
                assert found["credHelpers"][each.host] == "ecrlogind"
            elif (stands := password_of(found["auths"][each.host])) != held:
                # Ours it is not, so a job's it must be, and one that we know of and that has not ended.
                assert stands not in self.world.ecr.lives
                assert not each.replaces
                said = "failed" if self.oracle.is_objected(each.host) else "foreign"
                assert self.oracle.states()[each.host, f"user:{each.user}"] == {said}
                if (path, each.host) in self.strangers:
                    assert self.world.clock.up < self.strangers[path, each.host][1]

    def nothing_of_theirs_is_lost(self, path):
        text = self.world.homes.files[path]
        if isinstance(self.theirs.get(path), str):
            assert text == self.theirs[path]
            return
        assert self.without_ours(json.loads(text or "{}")) == self.theirs.get(path, {})
        for (where, host), (entry, ends_at, _) in self.strangers.items():
            if where == path and self.world.clock.up < ends_at:
                assert json.loads(text)["auths"][host] == entry

    # --- how the story is told

    def rest(self):
        """Let everybody come to rest; where healing is held back, that is two seconds."""
        self.world.settle()
        if self.world.homes.unseen - self.world.homes.away:
            self.world.live(seconds=3)
        self.look()

    def path(self, user):
        return self.oracle.path(user) if user else None

    def user(self, path):
        return next((user for user in self.world.accounts.users if self.path(user) == path), None)

    def readable(self, path):
        """Return what stands in the file of somebody who can write it; None if nobody can make sense of it."""
        if path is None or path in self.world.homes.hung or path in self.world.homes.closed:
            return None
        return self.oracle.standing(path)

    def is_well(self, path):
        """Whether the last courier came back from *path* with what it found, and all that stands there was seen."""
        homes = self.world.homes
        return homes.came_back.get(path, ...) is None and path not in homes.unseen and path not in homes.away

    def is_delivered(self, user, host):
        wanted = [each for each in self.oracle.wanted if (each.user, each.host) == (user, host)]
        return bool(wanted) and wanted[0].via == "file" and not wanted[0].replaces

    def note_ends(self):
        """Forget logins of jobs that have said themselves that they end, once the wall clock says that they have."""
        wall = self.world.clock.wall().timestamp()
        for key in [key for key, (_, _, ends) in self.strangers.items() if ends is not None and wall >= ends]:
            del self.strangers[key]

    def forget_strangers(self, path):
        for key in [each for each in self.strangers if each[0] == path]:
            del self.strangers[key]

    def put(self, path, document):
        self.theirs[path] = self.without_ours(document)
        self.world.write(path, json.dumps(document, indent=2))
        self.rest()

    def without_ours(self, document):
        """Return what in a document is others', logins under our hosts left out; empty sections are nobody's."""
        left = {key: value for key, value in document.items() if key not in ("auths", "credHelpers")}
        auths = {key: value for key, value in document.get("auths", {}).items() if key not in HOSTS}
        helpers = {key: value for key, value in document.get("credHelpers", {}).items() if value != "ecrlogind"}
        return left | ({"auths": auths} if auths else {}) | ({"credHelpers": helpers} if helpers else {})


TestLife = pytest.mark.timeout(900)(Life.TestCase)
TestLife.settings = examples(40, stateful_step_count=40, phases=set(Phase) - {Phase.explain})
