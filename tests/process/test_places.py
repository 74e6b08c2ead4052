"""Registries that are not called by their own name: aliases, and those that only the instance tells."""

import pytest

from tests.support.identities import RUNNER, USER, signed
from tests.support.keeper import until

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
OTHER = "444455556666.dkr.ecr.us-east-1.amazonaws.com"
ENDPOINT = "vpce-0123456789abcdef0-abcdefgh.dkr.ecr.eu-central-1.vpce.amazonaws.com"
CENTRAL = {"account": "210987654321", "region": "self"}


def test_an_alias_gets_the_credential_of_the_registry_that_it_stands_for(keeper, aws):
    for alias in (ENDPOINT, "ecr.example.com"):
        aws.world.aliases[alias] = ("210987654321", "eu-central-1")
    keeper.write_settings(
        [
            {"host": ENDPOINT, "account": "210987654321", "region": "eu-central-1"},
            {"host": "ecr.example.com", "account": "210987654321", "region": "eu-central-1", "also": ["fips"]},
        ],
        check={"registry": True},
    )

    done = keeper.run("login")

    assert done.returncode == 0, done.stdout
    assert set(keeper.auths()) == {
        ENDPOINT,
        "ecr.example.com",
        "210987654321.dkr.ecr-fips.eu-central-1.amazonaws.com",
    }
    assert aws.accepts(ENDPOINT, keeper.password(ENDPOINT))
    assert keeper.password(ENDPOINT) == keeper.password("ecr.example.com")
    assert [call.region for call in aws.calls(service="ecr")] == ["eu-central-1"] * 2
    assert {ENDPOINT, "ecr.example.com"} <= {call.host for call in aws.calls(service="registry") if call.identity}


@pytest.mark.parametrize("region", ["eu-west-1", "ap-southeast-2", "cn-north-1"])
def test_one_image_serves_a_central_account_in_whatever_region_it_runs(keeper, aws, region):
    aws.instance.region = region
    alias = {"host": "ecr.example.com", "account": "210987654321", "region": "self"}
    keeper.write_settings([CENTRAL, alias, {"account": "self", "region": "self"}])

    done = keeper.run("login")

    assert done.returncode == 0, done.stdout
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    central = f"210987654321.dkr.ecr.{region}.{suffix}"
    assert set(keeper.auths()) == {central, "ecr.example.com", f"111122223333.dkr.ecr.{region}.{suffix}"}
    assert [call.region for call in aws.calls(service="ecr")] == [region]
    names = {row["name"]: row["host"] for row in keeper.document["registries"]}
    assert names == {
        "210987654321 self": central,
        "ecr.example.com": "ecr.example.com",
        "self": f"111122223333.dkr.ecr.{region}.{suffix}",
    }


def test_self_on_a_host_that_is_no_instance_is_a_clear_refusal_and_the_others_go_on(keeper, aws, private_path):
    user = aws.user("444455556666")
    keeper.environment |= {
        "AWS_ACCESS_KEY_ID": user.access_key,
        "AWS_SECRET_ACCESS_KEY": user.secret_key,
    }
    keeper.write_settings(
        ["self", CENTRAL, OTHER], aws={"endpoints": aws.endpoints | {"imds": "http://127.0.0.1:9"}, "deadline": "4s"}
    )

    done = keeper.run("login")

    assert done.returncode == 1
    assert set(keeper.auths()) == {OTHER}
    assert signed(aws, "") == [("GetAuthorizationToken", USER)]
    errors = {row["name"]: row["error"] for row in keeper.document["registries"]}
    assert errors[OTHER] is None
    for name in ("self", "210987654321 self"):
        assert errors[name]["code"] == "imds_unreachable"
        assert 'name each registry by its host instead of "self"' in errors[name]["hint"]
    assert {row["name"]: row["host"] for row in keeper.document["registries"]}["self"] is None
    assert errors["self"]["message"] in done.stdout
    assert keeper.states() == {"self": "failed", "210987654321 self": "failed", OTHER: "in_place"}


def test_self_that_turns_out_to_be_another_identity_s_host_is_said_to_be_and_the_first_one_kept(keeper, aws):
    keeper.write_settings(["self", {"host": OWN, "role_arn": "arn:aws:iam::111122223333:role/other"}])

    done = keeper.run("login")

    assert done.returncode == 1
    assert "conflicting_identities" in keeper.run("status", "--json").stdout
    assert "list under `registries` of each destination" in done.stdout
    [signer] = {call.identity for call in aws.calls(action="GetAuthorizationToken")} - {RUNNER}
    assert ":assumed-role/other/" in signer
    assert keeper.password(OWN) in {each.value for each in aws.passwords() if each.session.arn == RUNNER}


def test_an_instance_that_comes_late_is_found(keeper, aws):
    aws.instance.state = "disabled"
    keeper.write_settings(["self"])
    with keeper.running():
        until(lambda: keeper.states() == {"self": "failed"}, "the refusal")
        assert keeper.document["registries"][0]["error"]["code"] == "imds_unreachable"
        aws.instance.state = "ok"
        keeper.wait_for(states={"self": "in_place"})
    assert set(keeper.auths()) == {OWN}
