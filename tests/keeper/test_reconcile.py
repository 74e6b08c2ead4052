"""The passes, told on a World that behaves: what becomes of the logins, whatever happens around them."""

import base64
import json
from datetime import timedelta

from ecrlogind.core.identity import Identity
from ecrlogind.core.wire import Call, Instance, Refusal
from tests.support.world import A, B, C, World

ROOT = "/root/.docker/config.json"
CI = "/home/ci/.docker/config.json"


def auth(password):
    return {"auth": base64.b64encode(f"AWS:{password}".encode()).decode()}


def two(**more):
    return World(registries=[A, B], destinations=[{"user": "root"}, {"user": "ci"}], **more)


def test_every_registry_is_logged_in_to_at_every_destination():
    world = two()

    world.settle()

    assert set(world.auths(ROOT)) == set(world.auths(CI)) == {A, B}
    assert set(world.states().values()) == {"in_place"}
    assert world.document["verdict"] == "healthy"


def test_one_call_serves_every_host_of_an_identity_in_a_region():
    hosts = [f"{n:012d}.dkr.ecr.eu-west-1.amazonaws.com" for n in range(10)]
    world = World(registries=hosts, destinations=[{"user": "root"}])

    world.settle()

    assert [call for call, _ in world.ecr.given] == [Call(Identity(), "eu-west-1")]
    assert world.auths()[hosts[0]] == world.auths()[hosts[9]]


def test_two_identities_in_two_regions_make_four_calls():
    roles = [f"arn:aws:iam::111111111111:role/{name}" for name in ("one", "two")]
    world = World(
        registries=[
            {"host": f"{account}.dkr.ecr.{region}.amazonaws.com", "role_arn": role}
            for account, role in zip(("111111111111", "222222222222"), roles, strict=True)
            for region in ("eu-west-1", "us-east-1")
        ],
        destinations=[{"user": "root"}],
    )

    world.settle()

    given = {(call.identity.roles, call.region) for call, _ in world.ecr.given}
    assert given == {((role,), region) for role in roles for region in ("eu-west-1", "us-east-1")}
    assert len(world.ecr.given) == 4


def test_one_host_under_two_identities_goes_to_two_users_each_with_its_own():
    push = "arn:aws:iam::111111111111:role/push"
    world = World(
        registries=[A, {"host": A, "name": "push", "role_arn": push}],
        destinations=[{"user": "root"}, {"user": "ci", "registries": ["push"]}],
    )

    world.settle()

    [by_host] = [password for call, password in world.ecr.given if not call.identity.roles]
    [by_role] = [password for call, password in world.ecr.given if call.identity.roles == (push,)]
    assert world.auths(ROOT) == {A: auth(by_host)}
    assert world.auths(CI) == {A: auth(by_role)}
    identities = {(row["name"], row["identity"]) for row in world.document["registries"]}
    assert identities == {(A, "host"), ("push", push)}


def test_only_the_named_registries_go_to_a_destination_that_names_some():
    world = World(registries=[A, B, C], destinations=[{"user": "root", "registries": [B]}, {"user": "ci"}])

    world.settle()

    assert set(world.auths(ROOT)) == {B}
    assert set(world.auths(CI)) == {A, B, C}


def test_self_becomes_the_registry_of_this_instance_and_shares_its_call():
    world = World(registries=["self", B], destinations=[{"user": "root"}])
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")
    assert world.document["registries"][0]["host"] is None

    world.settle()

    assert set(world.auths()) == {A, B}
    assert world.document["registries"][0]["name"] == "self"
    assert world.document["registries"][0]["host"] == A


def test_self_does_not_ask_again_for_what_is_being_asked():
    world = World(registries=["self"], destinations=[{"user": "root"}])
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")
    world.ecr.hangs = True
    world.settle()
    world.settle()
    world.ecr.hangs = False

    world.settle()

    assert len(world.ecr.given) == 1


def test_a_denied_registry_leaves_the_others_in_place_and_says_why():
    world = World(registries=[A, C], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied", when=lambda call: call.region == "us-east-1")

    world.settle()

    assert set(world.auths()) == {A}
    assert world.states() == {(A, "user:root"): "in_place", (C, "user:root"): "failed"}
    [login] = [each for each in world.document["logins"] if each["state"] == "failed"]
    assert login["error"] == {
        "code": "access_denied",
        "message": "refused with access_denied",
        "hint": "do something",
    }
    assert world.document["verdict"] == "failing"


def test_what_was_denied_follows_within_thirty_seconds_of_being_allowed():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied")
    world.live(minutes=9)
    world.ecr.relent()

    world.live(seconds=30)

    assert world.states() == {(A, "user:root"): "in_place"}


def test_after_ten_minutes_it_is_tried_every_five_minutes_at_most():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied")
    world.live(minutes=30)
    before = len(world.issuers.asked)

    world.live(hours=1)

    tries = len(world.issuers.asked) - before
    assert 12 <= tries <= 30


def test_a_failed_renewal_keeps_the_old_login_and_heals_when_aws_is_back():
    world = two()
    world.settle()
    old = world.auths()
    world.ecr.refuse("service_error")

    world.live(hours=11)

    assert world.auths() == old
    assert set(world.states().values()) == {"in_place"}
    assert world.document["verdict"] == "degraded"
    world.ecr.relent()
    world.live(minutes=5)
    assert world.auths() != old
    assert world.document["verdict"] == "healthy"


def test_an_outage_of_just_under_six_hours_at_the_worst_moment_never_leaves_an_expired_login():
    world = two()
    world.settle()
    renewal = timedelta(hours=12) * 0.45
    world.live(seconds=renewal.total_seconds() - 60)
    world.ecr.refuse("service_error")

    for _ in range(359):
        world.live(minutes=1)
        assert set(world.states().values()) == {"in_place"}
    world.ecr.relent()
    world.live(minutes=5)

    assert world.document["verdict"] == "healthy"


def test_an_outage_of_thirteen_hours_is_told_at_the_right_minute_and_mended_within_five():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    old = world.auths()
    world.ecr.refuse("service_error")
    world.live(hours=11, minutes=59)
    assert world.states() == {(A, "user:root"): "in_place"}

    world.live(minutes=1)

    assert world.states() == {(A, "user:root"): "expired"}
    assert world.document["verdict"] == "failing"
    assert world.auths() == old  # an expired login tells why a pull fails; none would look like no login at all
    world.live(hours=1)
    world.ecr.relent()
    world.live(minutes=5)
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_credential_is_renewed_at_half_its_life_for_ever():
    world = World(registries=[A], destinations=[{"user": "root"}])

    world.live(hours=48)

    assert 8 <= len(world.ecr.given) <= 10
    assert world.auths()[A] == auth(world.ecr.given[-1][1])


def test_a_lifetime_of_seconds_is_no_reason_to_ask_more_often_than_the_floor():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.lifetime = timedelta(seconds=3)

    world.live(minutes=10)

    assert len(world.ecr.given) <= 11


def test_a_restart_asks_aws_for_nothing_that_is_still_good():
    world = two()
    world.settle()
    given = len(world.ecr.given)

    world.start()
    world.live(hours=1)

    assert len(world.ecr.given) == given
    assert set(world.states().values()) == {"in_place"}


def test_a_clock_that_is_set_moves_no_renewal():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    for years in (1, -2, 1):
        world.clock.step(days=365 * years)
        world.live(minutes=10)

    assert len(world.ecr.given) == 1
    world.live(hours=6)
    assert len(world.ecr.given) == 2


def test_a_suspend_of_eight_hours_is_made_up_for_at_once():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()

    world.clock.advance(hours=8)
    world.live(seconds=1)

    assert len(world.ecr.given) == 2


def test_a_login_that_somebody_took_out_is_put_back_when_a_courier_looks():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.homes.files[ROOT] = '{"auths": {}}'

    world.reconciler.look(ROOT)
    world.settle()

    assert set(world.auths()) == {A}
    assert [event.registries for event in world.told("login.drifted")] == [(A,)]


def test_a_logout_in_a_loop_is_healed_twenty_times_at_once_then_every_two_seconds():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    healed = []
    for tenth in range(600):
        if not world.auths():
            world.reconciler.look(ROOT)
        world.settle()
        if world.auths():
            healed.append(tenth)
            world.homes.files[ROOT] = "{}"
            world.reconciler.look(ROOT)
        world.clock.advance(seconds=0.1)

    at_once = sum(tenth < 30 for tenth in healed)
    assert 19 <= at_once <= 22
    assert len(healed) - at_once <= 31
    assert len(world.told("login.drifted")) <= 2


def test_somebody_elses_login_is_kept_and_reported_and_left_again_to_us_when_it_vanishes():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    theirs = {"auths": {A: auth("a-job-s-own")}}
    world.homes.files[ROOT] = json.dumps(theirs)
    world.reconciler.look(ROOT)
    world.settle()

    assert world.auths() == theirs["auths"]
    assert world.states() == {(A, "user:root"): "foreign"}
    assert world.document["verdict"] == "healthy"
    world.homes.files[ROOT] = '{"auths": {}}'
    world.reconciler.look(ROOT)
    world.settle()
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_foreign_login_is_replaced_twelve_hours_after_it_was_first_seen_across_restarts():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.homes.files[ROOT] = json.dumps({"auths": {A: auth("a-job-s-own")}})
    world.reconciler.look(ROOT)
    world.live(hours=7)
    world.start()

    world.live(hours=4, minutes=59)

    assert world.states() == {(A, "user:root"): "foreign"}
    world.live(minutes=2)
    assert world.states() == {(A, "user:root"): "in_place"}


def test_a_job_s_login_to_two_registries_has_its_time_at_each():
    world = two()
    world.settle()
    theirs = {A: auth("a-job-s-own")}
    world.write(ROOT, json.dumps({"auths": world.auths(ROOT) | theirs}))
    world.live(hours=6, tick=timedelta(minutes=10))
    world.write(ROOT, json.dumps({"auths": world.auths(ROOT) | {B: theirs[A]}}))

    world.live(hours=6, minutes=1, tick=timedelta(minutes=10))

    assert {host: state for (host, where), state in world.states().items() if where == "user:root"} == {
        A: "in_place",
        B: "foreign",
    }


def test_the_first_delivery_after_a_boot_replaces_what_was_left_there():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.homes.files[ROOT] = json.dumps({"auths": {A: auth("from-the-image")}})

    world.settle()

    assert world.states() == {(A, "user:root"): "in_place"}


def test_the_first_delivery_replaces_it_also_if_it_was_refused_at_first_and_by_an_earlier_keeper():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.homes.files[ROOT] = json.dumps({"auths": {A: auth("from-the-image")}})
    world.homes.closed[ROOT] = Refusal("read_only", "nothing can be written there", "mount it writable")
    world.settle()
    world.start()
    world.settle()
    world.homes.closed.clear()

    world.live(minutes=1)

    assert world.states() == {(A, "user:root"): "in_place"}
    assert world.auths() != {A: auth("from-the-image")}


def test_a_user_that_does_not_exist_yet_is_pending_and_logged_in_once_it_does():
    world = World(registries=[A], destinations=[{"user": "root"}, {"user": "late"}])
    world.settle()
    assert world.states() == {(A, "user:root"): "in_place", (A, "user:late"): "pending"}
    assert world.document["verdict"] == "healthy"

    world.accounts.create("late")
    world.live(seconds=30)

    assert world.states()[A, "user:late"] == "in_place"


def test_a_user_that_left_is_visited_no_more():
    world = two()
    world.settle()
    del world.accounts.users["ci"]
    world.settle()
    visits = len(world.homes.visits)

    world.live(hours=2)

    assert world.homes.visits[visits:].count(CI) == 0


def test_what_we_delivered_is_known_as_ours_however_long_the_file_could_not_be_reached():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.live(minutes=1)
    world.ecr.lifetime = timedelta(minutes=15)
    world.homes.closed[ROOT] = Refusal("read_only", "nothing can be written there", "mount it writable")
    world.live(hours=24, tick=timedelta(minutes=10))
    assert len(world.ecr.given) > 100
    world.homes.closed.clear()

    world.live(minutes=1)

    assert world.states() == {(A, "user:root"): "in_place"}
    assert world.auths() == {A: auth(world.ecr.given[-1][1])}


def test_what_a_courier_delivered_as_the_keeper_died_is_known_as_ours_by_the_next():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.clock.up += timedelta(hours=6)
    first = world.auths()
    while world.auths() == first:
        world.reconciler.run_pass()
    # The keeper hears no report any more, and the credential's file was garbled: another one is to be delivered.
    world.shelf.credentials.clear()
    world.start()

    world.settle()

    assert len(world.ecr.given) == 3
    assert world.states() == {(A, "user:root"): "in_place"}
    assert world.auths() == {A: auth(world.ecr.given[-1][1])}


def test_a_file_that_is_refused_holds_up_no_other_and_heals():
    world = two()
    world.homes.files[CI] = "{ not json"
    world.settle()
    assert world.states()[A, "user:ci"] == "failed"
    assert world.states()[A, "user:root"] == "in_place"
    assert world.homes.files[CI] == "{ not json"

    world.homes.files[CI] = "{}"
    world.live(minutes=1)

    assert world.states()[A, "user:ci"] == "in_place"


def test_a_courier_that_does_not_come_back_holds_up_no_other_file():
    world = two()
    world.homes.slow = True
    world.settle()
    world.settle()
    assert len(world.homes.visits) == 2  # never two for one destination


def test_a_registry_taken_out_of_the_settings_is_logged_out_of():
    world = two()
    world.settle()

    world.adopt(registries=[A], destinations=[{"user": "root"}, {"user": "ci"}])
    world.settle()

    assert set(world.auths(ROOT)) == set(world.auths(CI)) == {A}


def test_a_destination_taken_out_of_the_settings_is_logged_out():
    world = two()
    world.settle()
    mine = json.loads(world.homes.files[CI])
    mine["auths"]["quay.io"] = {"auth": "bWU6bWU="}
    world.homes.files[CI] = json.dumps(mine)

    world.adopt(registries=[A, B], destinations=[{"user": "root"}])
    world.settle()

    assert set(world.auths(CI)) == {"quay.io"}
    assert set(world.auths(ROOT)) == {A, B}


def test_a_registry_that_is_not_issued_yet_is_no_reason_to_take_its_login_out():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.shelf.credentials.clear()
    world.ecr.refuse("service_error")

    world.start()
    world.live(minutes=1)

    assert set(world.auths()) == {A}


def test_a_refusal_is_told_once_and_then_every_hour():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied")

    world.live(hours=3, minutes=1)

    assert 3 <= len(world.told("credential.refused")) <= 4


def test_a_refusal_that_came_back_after_a_success_is_told_at_once():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("access_denied")
    world.live(seconds=5)
    world.ecr.relent()
    world.live(minutes=1)
    world.ecr.refuse("access_denied")
    world.reconciler.hurry()
    world.live(hours=6)

    assert len(world.told("credential.refused")) >= 2


def test_retry_after_is_honoured():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.refuse("throttled", retry_after=timedelta(seconds=100))
    world.settle()

    world.live(seconds=99)

    assert len(world.issuers.asked) == 1
    world.live(seconds=2)
    assert len(world.issuers.asked) == 2


def test_in_the_last_half_hour_of_a_credential_s_life_it_is_tried_every_thirty_seconds():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.settle()
    world.ecr.refuse("service_error")
    world.live(hours=11, minutes=31)
    before = len(world.issuers.asked)

    world.live(minutes=10)

    assert len(world.issuers.asked) - before >= 20


def test_other_settings_for_self_that_name_the_same_registry_are_one_login_or_a_conflict():
    role = "arn:aws:iam::111111111111:role/other"
    world = World(registries=["self", {"host": A, "role_arn": role}], destinations=[{"user": "root"}])
    world.ecr.instance = Instance("111111111111", "eu-west-1", "i-1")

    world.settle()

    assert [login["state"] for login in world.document["logins"]] == ["in_place", "failed"]
    assert world.document["logins"][1]["error"]["code"] == "conflicting_identities"


def test_a_refused_delivery_says_so_by_name():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.homes.closed[ROOT] = Refusal("wrong_owner", "belongs to ci", "run: chown root /root/.docker")

    world.settle()

    [login] = world.document["logins"]
    assert login["state"] == "failed"
    assert login["error"]["code"] == "wrong_owner"


def test_a_try_that_itself_waited_for_the_network_is_followed_by_the_next_at_once():
    world = World(registries=[A], destinations=[{"user": "root"}])
    world.ecr.hangs = True
    world.live(seconds=20)
    once = iter([True])
    world.ecr.refuse("no_network", when=lambda _call: next(once, False))
    world.ecr.hangs = False

    world.settle()

    assert len(world.issuers.asked) == 2
    assert set(world.auths()) == {A}


# --- couriers that are had ready


def test_a_courier_is_had_ready_for_each_file_while_its_first_logins_are_asked_for():
    world = two()
    world.reconciler.run_pass()
    assert sorted(world.homes.ready_for) == [CI, ROOT]
    assert world.homes.visits == []

    world.settle()
    world.homes.ready_for.clear()
    world.live(hours=12)

    assert len(world.ecr.given) > 1
    assert world.homes.ready_for == []  # a renewal is in no hurry


def test_no_courier_is_had_ready_for_what_was_refused_already():
    world = two()
    world.ecr.refuse()
    world.settle()
    world.homes.ready_for.clear()

    world.live(minutes=2)

    assert world.homes.ready_for == []


def test_no_courier_is_had_ready_for_a_helper_or_for_docker():
    world = World(
        registries=[A], destinations=[{"user": "root", "via": "helper"}, {"user": "ci", "via": "docker-login"}]
    )

    world.reconciler.run_pass()

    assert world.homes.ready_for == []
