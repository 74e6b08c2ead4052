import json
from datetime import timedelta

import pytest

from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.wire import Call, Instance, Issued, NoInstance, Refused
from standin import Proxy, Role

from .conftest import EU, PUBLIC, US

INSTANCE_ROLE = "arn:aws:sts::111122223333:assumed-role/runner/i-0123456789abcdef0"
CI = "arn:aws:iam::222233334444:role/ci"
PULL = "arn:aws:iam::555566667777:role/pull"


def test_the_role_of_the_instance_is_who_signs_when_nothing_else_is_said(host):
    [issued] = host.issued(EU)

    assert (issued.username, issued.password.reveal()) == ("AWS", host.aws.newest_password("eu-west-1"))
    assert timedelta(hours=11, minutes=59) < issued.lifetime <= timedelta(hours=12, seconds=1)
    assert host.signers() == [("ecr", "GetAuthorizationToken", "eu-west-1", INSTANCE_ROLE)]


def test_static_keys_of_the_environment_come_before_the_instance(host):
    host.issued(EU, environment=host.keys())

    assert host.signers() == [("ecr", "GetAuthorizationToken", "eu-west-1", "arn:aws:iam::444455556666:user/ci")]
    assert host.aws.calls(service="imds") == []


def credentials(host, profile="default", account="444455556666"):
    keys = host.keys(account)
    return (
        f"[{profile}]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
    )


def test_static_keys_come_from_the_text_of_a_credentials_file(host):
    host.issued(EU, files={"AWS_SHARED_CREDENTIALS_FILE": credentials(host)})

    assert host.signers()[0][3] == "arn:aws:iam::444455556666:user/ci"


def test_a_profile_is_taken_from_the_files_by_its_name(host):
    files = {"AWS_SHARED_CREDENTIALS_FILE": credentials(host, "ci") + credentials(host, "other", "999988887777")}

    host.issued(Call(Identity(profile="ci"), "eu-west-1"), Call(Identity(profile="other"), "eu-west-1"), files=files)

    assert {signer[3] for signer in host.signers()} == {
        "arn:aws:iam::444455556666:user/ci",
        "arn:aws:iam::999988887777:user/ci",
    }


def test_the_profile_of_the_environment_counts(host):
    files = {"AWS_SHARED_CREDENTIALS_FILE": credentials(host, "ci")}

    host.issued(EU, files=files, environment={"AWS_PROFILE": "ci"})

    assert host.signers()[0][3] == "arn:aws:iam::444455556666:user/ci"


def test_a_profile_can_assume_a_role_from_the_credentials_of_the_instance(host):
    config = f"[profile ci]\nrole_arn = {CI}\ncredential_source = Ec2InstanceMetadata\n"

    host.issued(Call(Identity(profile="ci"), "eu-west-1"), files={"AWS_CONFIG_FILE": config})

    assert host.signers() == [
        ("sts", "AssumeRole", "eu-west-1", INSTANCE_ROLE),
        (
            "ecr",
            "GetAuthorizationToken",
            "eu-west-1",
            f"arn:aws:sts::222233334444:assumed-role/ci/ecrlogind-{host.aws.instance.id}",
        ),
    ]


def test_a_profile_can_assume_a_role_from_a_profile_with_a_credential_process(host, tmp_path):
    keys = host.keys()
    program = tmp_path / "program"
    program.write_text(
        "#!/bin/sh\n"
        'test -z "$AWS_SECRET_ACCESS_KEY" || exit 3\n'
        'grep -q "profile base" "$AWS_CONFIG_FILE" || exit 4\n'
        f"""echo '{{"Version": 1, "AccessKeyId": "{keys["AWS_ACCESS_KEY_ID"]}","""
        f""" "SecretAccessKey": "{keys["AWS_SECRET_ACCESS_KEY"]}"}}'\n"""
    )
    program.chmod(0o755)
    config = (
        f"[profile base]\ncredential_process = {program}\n"
        f"[profile ci]\nrole_arn = {CI}\nsource_profile = base\nrole_session_name = nightly\n"
    )

    host.issued(
        Call(Identity(profile="ci"), "eu-west-1"),
        files={"AWS_CONFIG_FILE": config},
        environment={"AWS_SECRET_ACCESS_KEY": "not for programs"},
    )

    assert [signer[3] for signer in host.signers()] == [
        "arn:aws:iam::444455556666:user/ci",
        "arn:aws:sts::222233334444:assumed-role/ci/nightly",
    ]


def test_a_web_identity_token_comes_as_text(host):
    host.aws.world.web_identity = "eyJ.web.identity"

    host.issued(
        EU,
        environment={"AWS_ROLE_ARN": CI, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token"},
        files={"AWS_WEB_IDENTITY_TOKEN_FILE": "eyJ.web.identity"},
    )

    assert [signer[:3] for signer in host.signers()] == [
        ("sts", "AssumeRoleWithWebIdentity", None),  # nothing signs it
        ("ecr", "GetAuthorizationToken", "eu-west-1"),
    ]


def test_a_container_s_credentials_come_from_beside_it_and_never_through_a_proxy(host, listener):
    keys = host.keys()
    given = {"AccessKeyId": keys["AWS_ACCESS_KEY_ID"], "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"], "Token": ""}
    body = json.dumps(given | {"Expiration": "2099-01-01T00:00:00Z"}).encode()
    port, heard = listener(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    with Proxy() as proxy:
        host.issued(
            EU,
            environment={
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/keys",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me-in",
                "HTTP_PROXY": proxy.url,
            },
        )
        assert proxy.asked == [host.aws.url.removeprefix("http://")]

    assert b"let-me-in" in heard()
    assert host.signers()[0][3] == "arn:aws:iam::444455556666:user/ci"


def test_a_role_is_assumed_with_all_that_the_settings_say(host):
    host.aws.world.identities.roles[CI] = Role(external_id="runners")
    identity = Identity(
        roles=(CI,), external_id="runners", session_name="nightly", duration=timedelta(minutes=20), scope="pull"
    )

    [issued] = host.issued(Call(identity, "eu-west-1"))

    [assumed] = host.aws.calls(service="sts")
    assert (assumed.target, assumed.external_id, assumed.session_name, assumed.duration) == (
        CI,
        "runners",
        "nightly",
        1200,
    )
    assert "ecr:BatchGetImage" in assumed.session_policy
    assert "PutImage" not in assumed.session_policy
    assert issued.call.identity == identity


def test_without_a_session_name_the_role_is_told_which_instance_asked(host):
    host.issued(Call(Identity(roles=(CI,)), "eu-west-1"))

    [assumed] = host.aws.calls(service="sts")
    assert assumed.session_name == f"ecrlogind-{host.aws.instance.id}"
    assert assumed.user_agent.startswith("ecrlogind/")
    assert host.aws.instance.id in assumed.user_agent


def test_roles_are_assumed_one_after_the_other_and_only_the_last_is_bound(host):
    identity = Identity(roles=(CI, PULL), external_id="last", duration=timedelta(minutes=15), scope="pull")

    host.issued(Call(identity, "eu-west-1"))

    first, last = host.aws.calls(service="sts")
    assert (first.identity, first.target, first.external_id, first.duration, first.session_policy) == (
        INSTANCE_ROLE,
        CI,
        None,
        None,
        None,
    )
    assert (last.target, last.external_id, last.duration) == (PULL, "last", 900)
    assert last.identity.startswith("arn:aws:sts::222233334444:assumed-role/ci/")
    assert last.session_policy


def test_an_identity_assumes_its_role_once_however_many_regions_it_is_for(host):
    role = Identity(roles=(CI,))

    host.issued(*(Call(role, region) for region in ("us-east-1", "eu-west-1", "ap-south-1", "eu-central-1")))

    assert len(host.aws.calls(service="sts")) == 1
    assert len(host.aws.calls(service="ecr")) == 4


def test_a_role_is_assumed_at_home_where_it_is_used_there_else_where_it_is_used_first(host):
    home, abroad = Identity(roles=(CI,)), Identity(roles=(PULL,))

    host.issued(Call(home, "us-east-1"), Call(home, "eu-west-1"), Call(abroad, "us-west-2"), Call(abroad, "us-east-1"))

    assert {call.target: call.region for call in host.aws.calls(service="sts")} == {CI: "eu-west-1", PULL: "us-west-2"}


def test_every_call_is_made_once_and_answered_once(host):
    role = Identity(roles=(CI,))
    calls = (EU, US, PUBLIC, Call(role, "eu-west-1"), Call(role, "us-east-1"))

    issued = host.issued(*calls)

    assert {each.call for each in issued} == set(calls)
    assert len(issued) == 5
    assert len({each.password for each in issued}) == 5
    assert [call.service for call in host.aws.calls(action="GetAuthorizationToken")].count("ecr-public") == 1
    assert {call.region for call in host.aws.calls(service="ecr-public")} == {"us-east-1"}
    assert len(host.aws.calls(service="imds", action="credentials")) == 1


def test_self_is_the_region_of_the_instance_and_equal_calls_become_one(host):
    host.aws.instance.region = "eu-central-1"

    first, *rest = host.ask(Call(HOST, "self"), Call(HOST, "eu-central-1"), EU)

    assert first == Instance("111122223333", "eu-central-1", "i-0123456789abcdef0")
    assert sorted(each.call.region for each in rest) == ["eu-central-1", "eu-west-1"]
    assert len(host.aws.calls(service="ecr", region="eu-central-1")) == 1


def test_the_instance_is_told_on_request_alone(host):
    assert host.ask(instance=True) == [Instance("111122223333", "eu-west-1", "i-0123456789abcdef0")]
    assert host.aws.calls(service="ecr") == []


def test_self_where_there_is_no_instance_is_refused_with_its_reason_and_the_others_go_on(host, free_port):
    dead = {"imds": f"http://127.0.0.1:{free_port}"}

    answers = host.ask(Call(HOST, "self"), EU, endpoints=dead, environment=host.keys(), deadline=timedelta(seconds=5))

    [no_instance] = [each for each in answers if isinstance(each, NoInstance)]
    [refused] = [each for each in answers if isinstance(each, Refused)]
    [issued] = [each for each in answers if isinstance(each, Issued)]
    assert no_instance.refusal.code == "imds_unreachable"
    assert refused.call == Call(HOST, "self")
    assert refused.refusal == no_instance.refusal
    assert "self" in refused.refusal.hint
    assert issued.call == EU


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(HOST, "us-east-1"), "api.ecr.us-east-1.amazonaws.com"),
        (Call(HOST, "us-east-1", fips=True), "api.ecr-fips.us-east-1.amazonaws.com"),
        (Call(HOST, "us-east-1", dual_stack=True), "ecr.us-east-1.api.aws"),
        (Call(HOST, "us-east-1", fips=True, dual_stack=True), "ecr-fips.us-east-1.api.aws"),
        (Call(HOST, "cn-north-1"), "api.ecr.cn-north-1.amazonaws.com.cn"),
        (Call(HOST, "us-east-1", public=True), "api.ecr-public.us-east-1.amazonaws.com"),
    ],
)
def test_each_variant_has_its_endpoint_and_the_first_connect_goes_there_too(host, everywhere, call, name):
    host.issued(call, **everywhere.parts)

    assert {call.host for call in host.aws.calls(action="GetAuthorizationToken")} == {name}
    assert set(everywhere.proxy.asked) == {f"{name}:443"}


def test_fips_and_dual_stack_of_the_settings_hold_for_all_calls_and_for_sts(host, everywhere):
    host.issued(Call(Identity(roles=(CI,)), "us-east-1"), use_fips=True, use_dualstack=True, **everywhere.parts)

    assert {call.host for call in host.aws.calls() if call.service in ("sts", "ecr")} == {
        "sts-fips.us-east-1.api.aws",
        "ecr-fips.us-east-1.api.aws",
    }


def test_roles_are_assumed_at_the_regional_endpoint_even_behind_a_profile(host, everywhere):
    config = (
        f"[profile ci]\nrole_arn = {CI}\ncredential_source = Ec2InstanceMetadata\nsts_regional_endpoints = legacy\n"
    )
    calls = Call(Identity(profile="ci"), "eu-west-1"), Call(Identity(roles=(PULL,)), "eu-west-1")

    host.issued(
        *calls,
        files={"AWS_CONFIG_FILE": config},
        environment={"AWS_STS_REGIONAL_ENDPOINTS": "legacy"},
        **everywhere.parts,
    )

    assert [call.host for call in host.aws.calls(service="sts")] == ["sts.eu-west-1.amazonaws.com"] * 2
