"""Metrics: what is counted and said, from the status documents of a host that lives."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from ecrlogind.core.metrics import LOGIN_STATES, Counters, metrics
from ecrlogind.core.wire import Refusal
from tests.support.world import World

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
FAR = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
ROLE = "arn:aws:iam::111122223333:role/push"


@pytest.fixture
def world():
    return World(registries=[HOST, FAR], destinations=[{"user": "ci"}])


def said(world, counters=None, took=timedelta(seconds=0.25)):
    """Return the samples by metric."""
    document = world.document
    counters = counters or Counters().after(document)
    return {each.name: each.samples for each in metrics(document, counters, took, "1.2.3")}


def seconds(moment):
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def test_expiry_and_last_success_are_unix_times_by_registry(world):
    world.settle()
    rows = {row["host"]: row for row in world.document["registries"]}

    samples = said(world)

    for metric, key in (("credential_expiry", "expires_at"), ("last_success", "issued_at")):
        found = samples[f"ecrlogind_{metric}_timestamp_seconds"]
        assert found == {(host,): seconds(rows[host][key]) for host in (HOST, FAR)}


def test_a_registry_without_a_credential_has_no_time_to_tell(world):
    world.ecr.refuse(when=lambda call: call.region == "us-east-1")
    world.settle()

    assert set(said(world)["ecrlogind_credential_expiry_timestamp_seconds"]) == {(HOST,)}


def test_the_old_expiry_stays_while_renewals_fail(world):
    world.settle()
    before = said(world)["ecrlogind_credential_expiry_timestamp_seconds"]
    world.ecr.refuse()
    world.live(hours=8)

    assert said(world)["ecrlogind_credential_expiry_timestamp_seconds"] == before


def test_of_two_identities_at_one_host_the_one_that_expires_first_is_said():
    push = {"host": HOST, "name": "push", "role_arn": ROLE}
    destinations = [{"user": "ci"}, {"user": "deploy", "registries": ["push"]}]
    world = World(users=("root", "ci", "deploy"), registries=[HOST, push], destinations=destinations)
    world.settle()
    world.ecr.refuse(when=lambda call: call.identity.roles)
    world.live(hours=7)
    first, second = world.document["registries"]
    assert first["expires_at"] != second["expires_at"]

    found = said(world)["ecrlogind_credential_expiry_timestamp_seconds"]

    assert found == {(HOST,): min(seconds(first["expires_at"]), seconds(second["expires_at"]))}


def test_every_refusal_is_counted_by_its_code_and_a_success_takes_nothing_back(world):
    world.ecr.refuse("throttled", when=lambda call: call.region == "us-east-1")
    counters = Counters()
    for refused in (1, 2, 3):
        world.settle()
        counters = counters.after(world.document)
        assert counters.failures == {(FAR, "throttled"): refused}
        world.clock.advance(minutes=6)
    world.ecr.relent()
    world.settle()
    counters = counters.after(world.document)
    assert counters.failures == {(FAR, "throttled"): 3}
    assert counters.after(world.document).failures == {(FAR, "throttled"): 3}

    world.ecr.refuse("dns")
    world.live(hours=6)
    counters = counters.after(world.document)
    assert counters.failures[FAR, "dns"] >= 1
    assert counters.failures[HOST, "dns"] >= 1
    assert counters.failures[FAR, "throttled"] == 3


def test_what_a_registry_objects_to_counts_once(world):
    world.ecr.objects = Refusal("pull_denied", "it may not pull", "allow it")
    world.settle()
    counters = Counters().after(world.document)
    counters = counters.after(world.document)

    assert counters.failures == {(HOST, "pull_denied"): 1, (FAR, "pull_denied"): 1}


def test_every_state_of_a_login_has_its_number(world):
    world.ecr.refuse(when=lambda call: call.region == "us-east-1")
    world.settle()

    found = said(world)["ecrlogind_logins"]

    assert set(found) == {(state,) for state in LOGIN_STATES}
    assert found["in_place",] == 1
    assert found["failed",] == 1
    assert sum(found.values()) == 2


def test_a_registry_whose_host_is_not_known_yet_goes_by_its_name():
    world = World(registries=["self"], destinations=[{"user": "ci"}])
    world.settle()

    assert Counters().after(world.document).failures == {("self", "imds_unreachable"): 1}


def test_names_labels_and_help_keep_to_the_rules_of_promtool(world):
    for metric in metrics(world.document, Counters(), timedelta(0), "1.2.3"):
        assert re.fullmatch(r"ecrlogind_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not re.search(r"_(count|sum|bucket|milliseconds|minutes|hours)$", metric.name)
        assert all(re.fullmatch(r"[a-z_]+", label) and label not in ("le", "quantile") for label in metric.labels)
        assert metric.help.endswith(".")
