"""The published schema of the status document, on documents of every kind of host."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ecrlogind.core.metrics import LOGIN_STATES
from ecrlogind.core.status import empty_document
from ecrlogind.core.wire import Refusal
from standin import Fault
from tests.support.world import World

SCHEMA = json.loads((Path(__file__).parents[1] / "docs/status.schema.json").read_text())
HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
FAR = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def problems(document):
    checker = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(document)]


def strict(node):
    """Return the schema with no room for keys that it does not name."""
    if isinstance(node, dict):
        closed = {key: strict(value) for key, value in node.items()}
        return {**closed, "additionalProperties": False} if "properties" in node else closed
    return [strict(each) for each in node] if isinstance(node, list) else node


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.fixture
def world():
    role = "arn:aws:iam::111122223333:role/x"
    return World(
        registries=["self", HOST, {"host": FAR, "role_arn": role}, "public.ecr.aws"],
        destinations=[
            {"user": "ci"},
            {"user": "root", "via": "helper"},
            {"user": "later"},
            {"path": "/run/x/config.json"},
        ],
    )


def lives(world):
    """Yield a host's documents over its life."""
    yield world.document
    world.ecr.refuse("access_denied", when=lambda call: call.region == "us-east-1")
    world.homes.closed["/run/x/config.json"] = Refusal("no_space", "there is no room", "make room")
    world.settle()
    yield world.document
    world.ecr.refuse("throttled")
    world.live(hours=8)
    yield world.document
    world.live(hours=8)
    yield world.document
    world.ecr.relent()
    world.homes.closed.clear()
    world.live(hours=1)
    yield world.document


def test_every_document_of_a_life_is_valid_and_has_no_key_that_is_not_published(world):
    seen = set()
    closed = Draft202012Validator(strict(SCHEMA))
    for document in lives(world):
        assert problems(document) == []
        assert list(closed.iter_errors(document)) == []
        seen |= {login["state"] for login in document["logins"]} | {row["state"] for row in document["registries"]}

    assert {"in_place", "failed", "pending", "expired", "issued", "failing"} <= seen


def test_a_keeper_with_bad_settings_has_a_valid_document():
    problem = Refusal("bad_settings", "config.toml: it is wrong", "mend it")

    assert problems(empty_document(pid=1, wall=NOW, started_at=NOW, problem=problem)) == []


def test_the_daemon_s_own_document_is_valid(keeper, aws):
    keeper.write_settings([HOST, FAR])
    aws.fault(Fault(service="ecr", region="us-east-1", error="AccessDeniedException", status=400))

    with keeper.running():
        keeper.wait_for(states={HOST: "in_place", FAR: "failed"})
        printed = json.loads(keeper.run("status", "--json").stdout)

    assert problems(printed) == []


def test_the_states_are_those_that_metrics_count():
    assert SCHEMA["$defs"]["login"]["properties"]["state"]["enum"] == list(LOGIN_STATES)


@pytest.mark.parametrize(
    "wrong",
    [{"verdict": "fine"}, {"version": 2}, {"updated_at": "2026-03-01 08:00"}, {"pid": "1"}, {"problem": "x"}],
    ids=str,
)
def test_what_is_wrong_is_found(world, wrong):
    assert problems({**world.document, **wrong})
