"""`via = "docker-login"` in the passes: the same logins, put there by another courier and looked at more often."""

from datetime import timedelta

import pytest

from ecrlogind.core.settings import Ready
from ecrlogind.core.status import is_settled
from ecrlogind.core.wire import Found, Refusal, Report, Was
from tests.support.surroundings import Back, Homes
from tests.support.world import A, B, World

CI = "/home/ci/.docker/config.json"


class Stores(Homes):
    """Homes whose couriers run docker login; what came of that is the test's to say, by host."""

    def __init__(self, clock):
        super().__init__(clock)
        self.errands = []
        self.refused = {}

    def send(self, step):
        self.errands.append(step)
        super().send(step)

    def _deliver(self, step):
        if not self.refused:
            return super()._deliver(step)
        del self._out[step.file.path]
        found = {host: Found(Was.ABSENT, is_ours=True) for host in step.errand.logins if host not in self.refused}
        self._back.append(Back(step, Report(found, refusal=next(iter(self.refused.values())))))
        return None


def world_of(*registries, **more):
    world = World(registries=list(registries), destinations=[{"user": "ci", "via": "docker-login"}], **more)
    world.homes = Stores(world.clock)
    world.start()
    return world


def test_it_is_a_login_like_any_other_taken_there_by_docker_with_more_time_for_it():
    world = world_of(A)

    world.settle()

    assert world.states() == {(A, "user:ci"): "in_place"}
    assert world.document["logins"][0]["via"] == "docker-login"
    [sent] = world.homes.errands
    assert sent.file.by_docker
    assert sent.errand.deadline > timedelta(seconds=30)


def test_nobody_is_sent_while_nothing_changed_but_to_look_every_five_minutes():
    world = world_of(A)
    world.settle()

    world.live(hours=1)

    assert 12 <= len(world.homes.errands) <= 14


def test_a_login_that_left_the_settings_is_taken_out_by_docker_too_also_after_a_restart():
    world = world_of(A)
    world.settle()
    world.start()
    world.adopt(registries=[A], destinations=[{"user": "root"}])

    world.settle()

    [sent] = [each for each in world.homes.errands if each.errand.remove]
    assert (sent.file.by_docker, sent.file.path, sent.errand.remove) == (True, CI, (A,))


def test_another_via_sends_the_courier_anew():
    world = World(registries=[A], destinations=[{"user": "ci"}])
    world.homes = Stores(world.clock)
    world.start()
    world.settle()

    world.adopt(registries=[A], destinations=[{"user": "ci", "via": "docker-login"}])
    world.settle()

    assert [each.file.by_docker for each in world.homes.errands] == [False, True]


def test_one_host_that_docker_could_not_log_in_to_is_failed_and_the_other_in_place():
    world = world_of(A, B)
    world.homes.refused[A] = Refusal("login_refused", "docker login: 401", "see the registry")

    world.settle()

    assert world.states() == {(A, "user:ci"): "failed", (B, "user:ci"): "in_place"}
    assert world.document["logins"][0]["error"]["code"] == "login_refused"


@pytest.mark.parametrize(("code", "waits"), [("no_daemon", True), ("registry_unreachable", True), ("no_docker", False)])
def test_the_start_waits_for_what_may_still_come_up_and_not_for_what_wants_a_person(code, waits):
    world = world_of(A)
    world.homes.refused[A] = Refusal(code, "it is not there", "start it")

    world.settle()

    assert is_settled(world.document, Ready.SETTLED) is not waits
    world.homes.refused.clear()
    world.live(minutes=1)
    assert world.states() == {(A, "user:ci"): "in_place"}
