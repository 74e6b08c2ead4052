import base64
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from botocore.exceptions import ClientError

from standin.identities import partition_of


def answered(ecr, **parameters):
    answer = ecr.get_authorization_token(**parameters)
    return answer["authorizationData"], parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def test_a_password_lives_as_long_as_it_is_told_to_by_the_answers_own_date(aws, client):
    aws.world.lifetime = 90
    aws.world.clock_skew = 200

    [data], date = answered(client("ecr"))

    assert 89 <= (data["expiresAt"] - date).total_seconds() <= 91
    assert 198 <= (date - datetime.now(UTC)).total_seconds() <= 201


def test_without_being_told_a_password_lives_twelve_hours(client):
    [data], date = answered(client("ecr"))

    assert round((data["expiresAt"] - date).total_seconds() / 3600) == 12


def test_every_call_gives_another_password_made_of_the_same_parts_as_awss(aws, client):
    ecr = client("ecr")
    first, second = (answered(ecr)[0][0] for _ in range(2))
    user, _, password = base64.b64decode(first["authorizationToken"]).decode().partition(":")
    inside = json.loads(base64.b64decode(password))

    assert first["authorizationToken"] != second["authorizationToken"]
    assert user == "AWS"
    assert list(inside) == ["payload", "datakey", "version", "type", "expiration"]
    assert inside["expiration"] == int(first["expiresAt"].timestamp())
    assert 1500 < len(password) < 3000
    assert aws.passwords("eu-west-1")[0].value == password


def test_every_password_and_every_auth_made_of_one_carries_the_canary(aws, client):
    aws.world.passwords.canary = "grep me, I am secret"
    token = answered(client("ecr"))[0][0]["authorizationToken"]
    in_password, in_auth = aws.world.passwords.marks()

    assert in_auth in token
    assert in_password in base64.b64decode(token).decode()
    assert token in aws.secrets()


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"),
        ("cn-north-1", "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_endpoint_named_is_the_callers_own_plain_one_of_that_region(client, region, host):
    assert answered(client("ecr", region))[0][0]["proxyEndpoint"] == f"https://{host}"


def test_registry_ids_give_an_entry_each_with_the_same_password(client):
    data, _ = answered(client("ecr"), registryIds=["222222222222", "333333333333"])

    assert len({each["authorizationToken"] for each in data}) == 1
    assert [each["proxyEndpoint"][8:20] for each in data] == ["222222222222", "333333333333"]


def test_ecr_public_answers_with_a_structure_and_no_endpoint(aws, client):
    data = client("ecr-public", "us-east-1").get_authorization_token()["authorizationData"]

    assert set(data) == {"authorizationToken", "expiresAt"}
    assert aws.newest_password("public") == base64.b64decode(data["authorizationToken"])[4:].decode()


def test_a_denied_identity_reads_awss_own_words_and_the_others_are_served(aws, client):
    with aws.deny("ecr:GetAuthorizationToken", identity="*:assumed-role/runner/*"):
        with pytest.raises(ClientError) as refused:
            client("ecr").get_authorization_token()
        client("ecr", keys=aws.user("444455556666")).get_authorization_token()
    client("ecr").get_authorization_token()

    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"].startswith(
        "User: arn:aws:sts::111122223333:assumed-role/runner/i-0123456789abcdef0 is not authorized to perform: "
        "ecr:GetAuthorizationToken on resource: *"
    )


@pytest.mark.parametrize("action", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"])
def test_ecr_public_asks_for_two_permissions(aws, client, action):
    with aws.deny(action), pytest.raises(ClientError, match=action):
        client("ecr-public", "us-east-1").get_authorization_token()


def code_of(call):
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value.response["Error"]["Code"]


def test_keys_that_nobody_gave_out_are_refused_in_each_services_words(aws, client):
    keys = aws.user("444455556666")
    aws.world.identities.forget(keys.access_key)

    assert code_of(client("ecr", keys=keys).get_authorization_token) == "UnrecognizedClientException"
    assert code_of(client("sts", keys=keys).get_caller_identity) == "InvalidClientTokenId"


def test_a_wrong_secret_key_is_refused(aws, client):
    keys = replace(aws.user("444455556666"), secret_key="x" * 40)

    assert code_of(client("ecr", keys=keys).get_authorization_token) == "InvalidSignatureException"
    assert code_of(client("sts", keys=keys).get_caller_identity) == "SignatureDoesNotMatch"


def test_a_roles_keys_are_refused_with_another_session_token(aws, client):
    keys = aws.world.identities.instance_role("111122223333", "runner", "i-1", "aws", expires_at=time.time() + 60)
    client("ecr", keys=keys).get_authorization_token()

    for token in (None, "another"):
        changed = replace(keys, token=token)
        assert code_of(client("ecr", keys=changed).get_authorization_token) == "UnrecognizedClientException"


def test_keys_past_their_end_are_refused(aws, client):
    ends_at = time.time() + 1000
    keys = aws.world.identities.instance_role("111122223333", "runner", "i-1", "aws", expires_at=ends_at)
    aws.world.clock_skew = 290
    client("ecr", keys=keys).get_authorization_token()
    keys = aws.world.identities.instance_role("111122223333", "runner", "i-1", "aws", expires_at=time.time())

    assert code_of(client("ecr", keys=keys).get_authorization_token) == "ExpiredTokenException"
    assert code_of(client("sts", keys=keys).get_caller_identity) == "ExpiredToken"


@pytest.mark.parametrize(("skew", "words"), [(3 * 3600, "Signature expired"), (-3 * 3600, "Signature not yet current")])
def test_a_clock_that_is_off_by_hours_spoils_the_signature(aws, client, skew, words):
    keys = aws.user("444455556666")
    aws.world.clock_skew = skew

    with pytest.raises(ClientError, match=words) as refused:
        client("ecr", keys=keys).get_authorization_token()

    date = parsedate_to_datetime(refused.value.response["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs((date - datetime.now(UTC)).total_seconds() - skew) < 5


def test_a_call_is_recorded_as_cloudtrail_would_tell_it(aws, client):
    client("ecr", "eu-central-1").get_authorization_token()

    [call] = aws.calls(action="GetAuthorizationToken", region="eu-central-1")
    assert (call.service, call.status, call.account) == ("ecr", 200, "111122223333")
    assert call.identity == "arn:aws:sts::111122223333:assumed-role/runner/i-0123456789abcdef0"
    assert call.role == "arn:aws:iam::111122223333:role/runner"
    assert "Botocore" in call.user_agent
    assert aws.calls(region="eu-west-1") == []


def test_the_partitions_agree_with_the_products_own_table():
    from ecrlogind.core.registry import PARTITIONS

    regions = {
        "aws": "eu-west-1",
        "aws-cn": "cn-north-1",
        "aws-us-gov": "us-gov-west-1",
        "aws-iso": "us-iso-east-1",
        "aws-iso-b": "us-isob-east-1",
        "aws-iso-e": "eu-isoe-west-1",
        "aws-iso-f": "us-isof-south-1",
        "aws-eusc": "eusc-de-east-1",
    }
    assert {each.name: (each.name, each.suffix) for each in PARTITIONS} == {
        name: partition_of(region) for name, region in regions.items()
    }
