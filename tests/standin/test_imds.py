import json

import pytest

TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
DOCUMENT = "/latest/dynamic/instance-identity/document"
ROLES = "/latest/meta-data/iam/security-credentials/"


@pytest.fixture
def data(ask):
    """Return a function that gets a token and with it the data at a path."""

    def data(path):
        token = ask("PUT", "/latest/api/token", TTL).body.decode()
        return ask("GET", path, {"X-aws-ec2-metadata-token": token})

    return data


@pytest.mark.parametrize("headers", [{}, {"X-aws-ec2-metadata-token": "made up"}])
def test_without_a_token_nothing_is_said(ask, headers):
    assert ask("GET", DOCUMENT, headers).status == 401


@pytest.mark.parametrize("seconds", [None, "0", "21601", "soon"])
def test_a_token_is_not_given_without_a_lifetime(ask, seconds):
    headers = {} if seconds is None else {"X-aws-ec2-metadata-token-ttl-seconds": seconds}

    assert ask("PUT", "/latest/api/token", headers).status == 400


def test_a_token_is_put_not_got(ask):
    assert ask("GET", "/latest/api/token", TTL).status == 405


def test_the_instance_is_what_it_was_made(aws, data):
    aws.instance.account, aws.instance.region, aws.instance.id = "000011112222", "us-gov-west-1", "i-77"

    document = json.loads(data(DOCUMENT).body)
    assert (document["accountId"], document["region"], document["instanceId"]) == (
        "000011112222",
        "us-gov-west-1",
        "i-77",
    )
    assert data("/latest/meta-data/placement/region").body == b"us-gov-west-1"
    assert data("/latest/meta-data/instance-id").body == b"i-77"
    assert data("/latest/meta-data/nonsense").status == 404


def test_the_roles_keys_stay_the_same_until_half_their_life_is_gone(aws, data):
    first, second = (json.loads(data(ROLES + "runner").body) for _ in range(2))
    aws.world.clock_skew = aws.instance.credentials_lifetime / 2 + 60
    third = json.loads(data(ROLES + "runner").body)

    assert first["Code"] == "Success"
    assert first["AccessKeyId"] == second["AccessKeyId"] != third["AccessKeyId"]


def test_another_role_has_other_keys_and_the_first_is_gone(aws, data):
    first = json.loads(data(ROLES + "runner").body)
    aws.instance.role = "builder"

    assert data(ROLES).body == b"builder"
    assert data(ROLES + "runner").status == 404
    assert json.loads(data(ROLES + "builder").body)["AccessKeyId"] != first["AccessKeyId"]


def test_no_role_is_a_404_that_ends_when_one_is_attached(aws, data):
    aws.instance.role = None
    assert data(ROLES).status == 404
    assert data(DOCUMENT).status == 200

    aws.instance.role = "runner"
    aws.instance.state = "no_role"
    assert data(ROLES).status == 404

    aws.instance.state = "ok"
    assert data(ROLES).status == 200


def test_disabled_metadata_is_a_403_for_everything(aws, ask):
    aws.instance.state = "disabled"

    assert ask("PUT", "/latest/api/token", TTL).status == 403
    assert ask("GET", DOCUMENT).status == 403


def test_beyond_the_hop_limit_a_token_is_never_answered(aws, ask):
    aws.instance.state = "no_answer"

    with pytest.raises(TimeoutError):
        ask("PUT", "/latest/api/token", TTL, timeout=0.2)
    assert [call.status for call in aws.calls(service="imds")] == [None]


def test_it_can_throttle_or_answer_with_an_error_or_a_page(aws, data):
    aws.instance.state = "throttled"
    assert data(DOCUMENT).status == 429

    aws.instance.state = "json_error"
    assert json.loads(data(ROLES + "runner").body)["Code"] == "AssumeRoleUnauthorizedAccess"

    aws.instance.state = "html"
    assert data(ROLES).body.startswith(b"<html>")


def test_a_request_through_a_proxy_is_told_apart(aws, ask):
    ask("PUT", "/latest/api/token", TTL)
    ask("PUT", "/latest/api/token", TTL | {"Via": "1.1 proxy"})
    ask("PUT", "http://169.254.169.254/latest/api/token", TTL)

    assert [call.proxied for call in aws.calls(action="token")] == [False, True, True]
