"""Who finds which answer: what helper, provider and export are told for every user and host."""

from dataclasses import replace
from datetime import timedelta

from ecrlogind.core.answers import texts
from ecrlogind.core.wire import Instance
from tests.support.world import A, B, C, World

ROOT, CI = 0, 1001


def published(world):
    return texts(world.reconciler.facts(), world.clock.up)


def test_every_user_has_the_hosts_of_that_user_s_destinations_and_root_every_unnamed_one():
    world = World(
        registries=[A, B, {"host": C, "name": "push", "role_arn": "arn:aws:iam::333333333333:role/push"}],
        destinations=[
            {"user": "root", "registries": [A]},
            {"user": "ci", "registries": [B, "push"], "via": "none"},
            {"path": "/run/ecrlogind/docker/config.json"},
        ],
    )

    world.settle()

    assert set(published(world)) == {(ROOT, A), (ROOT, B), (CI, B), (CI, C)}


def test_one_host_under_two_identities_has_an_answer_of_its_own_for_each_user():
    push = "arn:aws:iam::111111111111:role/push"
    world = World(
        registries=[A, {"host": A, "name": "push", "role_arn": push}],
        destinations=[{"user": "root"}, {"user": "ci", "registries": ["push"]}],
    )

    world.settle()

    found = published(world)
    assert found[ROOT, A] != found[CI, A]
    assert push in found[CI, A]


def test_an_answer_ends_with_its_credential_and_then_tells_why_there_is_none():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    end = int((world.clock.up + timedelta(hours=12)).total_seconds())
    assert published(world)[ROOT, A].startswith(f"{end}\n")
    world.ecr.refuse("service_error")

    world.live(hours=12)

    first, second = published(world)[ROOT, A].splitlines()
    assert first == "0"
    assert second.startswith("service_error: ")


def test_where_proc_uptime_is_not_the_time_since_boot_an_answer_still_ends_with_its_credential():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()

    found = texts(world.reconciler.facts(), timedelta(seconds=7))

    assert found[ROOT, A].startswith(f"{7 + 12 * 3600}\n")


def test_a_host_whose_credential_is_not_issued_yet_has_an_answer_that_says_so():
    world = World(registries=[A], destinations=[{"user": "root"}])

    assert published(world)[ROOT, A].startswith("0\npending: ")


def test_a_user_without_root_has_every_unnamed_registry():
    world = World(registries=[A, B], destinations=[{"user": "ci", "registries": [A]}])
    world.accounts.keeper = "ci"
    world.settle()

    assert set(published(world)) == {(CI, A), (CI, B)}


def test_two_identities_for_one_host_among_one_users_answers_are_a_conflict_and_the_first_is_given():
    role = "arn:aws:iam::111111111111:role/other"
    world = World(
        registries=["self", {"host": A, "role_arn": role}],
        destinations=[{"user": "ci", "registries": ["self"]}, {"path": "/srv/config.json", "registries": [A]}],
    )
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")

    world.live(minutes=5)

    assert role not in published(world)[ROOT, A]
    assert [(row["destination"], row["via"], row["state"]) for row in world.document["logins"]] == [
        ("user:ci", "file", "in_place"),
        ("/srv/config.json", "file", "in_place"),
        ("user:root", "none", "failed"),
    ]
    assert world.document["logins"][2]["error"]["code"] == "conflicting_identities"
    [event] = world.told("login.withheld")
    assert (event.code, event.registries, event.destination) == ("conflicting_identities", (A,), "user:root")


def test_two_names_of_one_user_share_the_answers():
    role = "arn:aws:iam::111111111111:role/other"
    world = World(
        registries=[A, {"host": A, "role_arn": role, "name": "push"}],
        destinations=[{"user": "ci"}, {"user": "cd", "registries": ["push"], "via": "none"}],
    )
    world.accounts.create("cd")
    world.accounts.users["cd"] = replace(world.accounts.users["cd"], uid=CI)

    world.settle()

    assert role not in published(world)[CI, A]
    assert world.states() == {(A, "user:ci"): "in_place", (A, "user:cd"): "failed"}
    assert world.document["logins"][1]["error"]["code"] == "conflicting_identities"


def test_what_a_destination_reports_as_a_conflict_is_not_reported_for_the_answers_again():
    role = "arn:aws:iam::111111111111:role/other"
    world = World(registries=["self", {"host": A, "role_arn": role}], destinations=[{"user": "root"}])
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")

    world.settle()

    assert [row["state"] for row in world.document["logins"]] == ["in_place", "failed"]


def test_a_user_that_left_the_settings_has_no_answers_any_more():
    world = World(registries=[A], destinations=[{"user": "root"}, {"user": "ci"}])
    world.settle()

    world.adopt(registries=[A], destinations=[{"user": "root"}])
    world.settle()

    assert set(published(world)) == {(ROOT, A)}
