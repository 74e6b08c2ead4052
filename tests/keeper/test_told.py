"""What the journal is told: one event per fact, one line per change, a reminder an hour later."""

from datetime import timedelta

from ecrlogind.core.wire import Instance
from tests.support.world import A, B, C, World


def test_a_credential_s_events_name_every_registry_that_it_serves():
    world = World(registries=[A, B, C], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied", when=lambda call: call.region == "us-east-1")

    world.settle()

    assert [event.registries for event in world.told("credential.issued")] == [(A, B)]
    assert [event.registries for event in world.told("credential.refused")] == [(C,)]


def test_self_is_named_by_its_host_as_soon_as_that_is_known():
    world = World(registries=["self"], destinations=[{"user": "root"}])
    world.settle()
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")
    world.live(minutes=1)

    assert [event.registries for event in world.told("credential.refused")] == [("self",)]
    assert [event.registries for event in world.told("credential.issued")] == [(A,)]


def test_a_lifetime_is_told_as_people_say_it():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.lifetime = timedelta(hours=12, milliseconds=-412)

    world.settle()

    [event] = world.told("credential.issued")
    assert event.message == "Credential issued for eu-west-1 as host, good for 12h."


def test_what_stays_wrong_is_told_once_and_again_each_hour():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied")

    world.live(minutes=50)
    assert len(world.told("credential.refused")) == 1

    world.live(hours=3)
    assert 3 <= len(world.told("credential.refused")) <= 4


def test_what_comes_back_after_it_had_passed_is_told_at_once():
    world = World(registries=[A], destinations=[{"user": "root"}])
    for _ in range(2):
        world.ecr.refuse("throttled")
        world.live(hours=7)
        world.ecr.relent()
        world.live(minutes=10)

    assert len(world.told("credential.issued")) == 2


def test_a_credential_that_ended_unrenewed_is_told_of_until_it_is_renewed():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.ecr.refuse("access_denied")

    world.live(hours=14, minutes=30)
    told = world.told("credential.expired")
    assert 2 <= len(told) <= 4
    assert told[0].registries == (A,)
    assert told[0].message.endswith("was not renewed: pulls fail.")

    world.ecr.relent()
    world.live(minutes=10)
    before = len(world.told("credential.expired"))
    world.live(hours=5)
    assert len(world.told("credential.expired")) == before


def test_a_user_who_is_not_there_yet_is_told_of_once_and_again_after_having_been_there():
    world = World(registries=[A], destinations=[{"user": "late"}])
    world.live(minutes=10)
    [event] = world.told("login.withheld")
    assert (event.code, event.registries, event.destination) == ("no_user", (A,), "user:late")

    world.accounts.create("late")
    world.live(minutes=1)
    del world.accounts.users["late"]
    world.live(minutes=1)

    assert len(world.told("login.withheld")) == 2


def test_two_identities_for_one_host_are_told_of_by_the_host():
    role = "arn:aws:iam::111111111111:role/push"
    world = World(registries=["self", {"host": A, "role_arn": role}], destinations=[{"user": "root"}])
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")

    world.live(minutes=5)

    [event] = world.told("login.withheld")
    assert (event.code, event.registries) == ("conflicting_identities", (A,))
