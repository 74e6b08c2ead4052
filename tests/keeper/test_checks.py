"""Asking the registries themselves: what becomes of a credential that AWS gave and a registry does not take."""

from datetime import timedelta

from ecrlogind.core.wire import Refusal
from tests.support.world import A, B, C, World


def world_of(*hosts, **more):
    return World(registries=list(hosts), destinations=[{"user": "root"}], **more)


def test_every_registry_is_asked_after_issuing_and_every_hour():
    world = world_of(A, B, C)
    world.settle()
    assert sorted(world.ecr.checked) == sorted([A, B, C])

    world.live(hours=3, minutes=1)

    assert world.ecr.checked.count(A) == 4


def test_a_reload_has_every_registry_asked_at_once():
    world = world_of(A)
    world.settle()
    world.ecr.revoked.add(world.ecr.given[0][1])

    world.reconciler.hurry()
    world.live(minutes=2)

    assert len(world.ecr.given) == 2
    assert world.states() == {(A, "user:root"): "in_place"}


def test_no_registry_is_asked_where_the_settings_say_so():
    world = world_of(A, check={"registry": False})

    world.live(hours=2)

    assert world.ecr.checked == []


def test_a_credential_that_is_not_taken_is_replaced_within_one_check_interval_and_told_meanwhile():
    world = world_of(A)
    world.settle()
    world.ecr.refuse("service_error")  # so that the time between is long enough to look
    world.ecr.revoked.add(world.ecr.given[0][1])
    world.live(hours=1, seconds=1)
    assert world.states() == {(A, "user:root"): "failed"}
    assert world.document["verdict"] == "failing"
    assert world.told("credential.rejected")

    world.ecr.relent()
    world.live(minutes=1)

    assert len(world.ecr.given) == 2
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_registry_that_takes_nothing_does_not_make_us_ask_aws_more_often_than_the_floor_and_less_and_less():
    world = world_of(A)
    world.ecr.objects = Refusal("invalid_keys", "it is not taken", "wait")

    world.live(hours=1)

    assert 3 <= len(world.ecr.given) <= 8


def test_a_role_that_may_not_pull_shows_before_the_first_job_fails():
    world = World(registries=[{"host": A, "images": ["base:latest"]}], destinations=[{"user": "root"}])
    world.ecr.objects = Refusal("pull_denied", "ecr:BatchGetImage is denied", "allow it")

    world.settle()

    [login] = world.document["logins"]
    assert (login["state"], login["error"]["code"]) == ("failed", "pull_denied")
    assert len(world.ecr.given) == 1
    assert [event.code for event in world.told("pull.denied")] == ["pull_denied"]
    world.ecr.objects = None
    world.live(minutes=5, seconds=1)
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_registry_that_cannot_be_reached_is_no_failure_of_the_login():
    world = world_of(A)
    world.ecr.objects = Refusal("no_network", "no route", "look at the network")

    world.settle()

    assert world.document["verdict"] == "healthy"
    assert world.told("check.missed")


def test_checks_wait_for_nobody_and_hold_nobody_up():
    world = world_of(A, C)
    world.ecr.hangs = True
    world.settle()
    assert world.ecr.checked == []
    world.ecr.hangs = False

    world.live(minutes=1)

    assert set(world.ecr.checked) == {A, C}


def test_after_a_renewal_the_new_credential_is_asked_about():
    world = world_of(A, check={"every": "12h"})
    world.settle()
    assert len(world.ecr.checked) == 1

    world.live(seconds=timedelta(hours=6).total_seconds())

    assert len(world.ecr.given) == 2
    assert len(world.ecr.checked) == 2


def test_what_a_registry_says_of_a_credential_is_not_held_against_the_next():
    world = world_of(A)
    world.settle()
    world.ecr.revoked.add(world.ecr.given[0][1])

    # Both are due now: the renewal, and a word about the old one that arrives after it.
    world.clock.advance(hours=6)
    world.settle()

    assert len(world.ecr.given) == 2
    assert world.states() == {(A, "user:root"): "in_place"}
    world.live(minutes=10)
    assert len(world.ecr.given) == 2


def test_a_login_that_was_of_no_use_is_not_called_in_place_before_the_next_is_delivered():
    world = world_of(A)
    world.settle()
    world.ecr.revoked.add(world.ecr.given[0][1])
    world.homes.slow = True

    world.live(hours=1, seconds=2)

    assert len(world.ecr.given) == 2
    assert world.states() == {(A, "user:root"): "pending"}
    world.homes.slow = False
    world.settle()
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_login_whose_credential_is_renewed_in_time_stays_in_place_until_the_next_is_delivered():
    world = world_of(A)
    world.settle()
    world.homes.slow = True

    world.live(hours=7)

    assert len(world.ecr.given) == 2
    assert world.states() == {(A, "user:root"): "in_place"}
