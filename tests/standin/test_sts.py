import pytest
from botocore.exceptions import ClientError

from standin import Role

ROLE = "arn:aws:iam::222222222222:role/team/pull"


def assumed(sts, role=ROLE, **parameters):
    return sts.assume_role(RoleArn=role, RoleSessionName="host-1", **parameters)["Credentials"]


def test_calls_with_the_keys_of_an_assumed_role_are_the_roles(aws, client):
    keys = assumed(
        client("sts"), Policy='{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
    )
    data = client("ecr", keys=keys).get_authorization_token()["authorizationData"][0]

    asked, used = aws.calls(service="sts")[0], aws.calls(service="ecr")[0]
    assert (asked.target, asked.session_name, asked.account) == (ROLE, "host-1", "111122223333")
    assert (used.role, used.session_name, used.account) == (ROLE, "host-1", "222222222222")
    assert used.identity == "arn:aws:sts::222222222222:assumed-role/pull/host-1"
    assert used.session_policy == asked.session_policy != None  # noqa: E711 - a chain of comparisons
    assert data["proxyEndpoint"].startswith("https://222222222222.")


def test_a_role_asks_for_the_external_id_it_was_given(aws, client):
    aws.world.identities.roles[ROLE] = Role(external_id="runners")
    sts = client("sts")

    assumed(sts, ExternalId="runners")
    for wrong in ({}, {"ExternalId": "other"}):
        with pytest.raises(
            ClientError, match=r"is not authorized to perform: sts:AssumeRole on resource: .*role/team/pull"
        ):
            assumed(sts, **wrong)
    assert [call.external_id for call in aws.calls(service="sts")] == ["runners", None, "other"]


def test_a_role_is_assumed_by_whom_it_trusts(aws, client):
    aws.world.identities.roles[ROLE] = Role(trusts=("arn:aws:sts::333333333333:assumed-role/hub/*",))

    with pytest.raises(ClientError, match="AccessDenied"):
        assumed(client("sts"))
    hub = assumed(client("sts"), "arn:aws:iam::333333333333:role/hub")
    assumed(client("sts", keys=hub))


def test_roles_that_nobody_made_can_be_made_unknown(aws, client):
    aws.world.identities.unknown_roles = False

    with pytest.raises(ClientError, match="AccessDenied"):
        assumed(client("sts"))


def test_a_role_assumed_by_a_role_lasts_an_hour_at_most(aws, client):
    with pytest.raises(ClientError, match="1 hour session limit"):
        assumed(client("sts"), DurationSeconds=7200)
    assumed(client("sts", keys=aws.user("111122223333")), DurationSeconds=7200)


def test_what_a_session_policy_does_not_allow_is_denied(client):
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:BatchGet*"],"Resource":"*"}]}'
    keys = assumed(client("sts"), Policy=policy)

    with pytest.raises(ClientError, match="no session policy allows the ecr:GetAuthorizationToken action"):
        client("ecr", keys=keys).get_authorization_token()


def test_a_web_identity_becomes_a_role_without_a_signature(aws, client, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    aws.world.web_identity = "a.web.identity"
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "pod-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)

    assert client("sts").get_caller_identity()["Arn"] == "arn:aws:sts::222222222222:assumed-role/pull/pod-1"
    assert aws.calls(action="AssumeRoleWithWebIdentity")[0].target == ROLE

    aws.world.web_identity = "another"
    with pytest.raises(ClientError, match="InvalidIdentityToken"):
        client("sts").get_caller_identity()


def test_everybody_is_told_who_they_are(aws, client):
    user = aws.user("444455556666", "alice")

    assert client("sts").get_caller_identity()["Arn"].endswith("assumed-role/runner/i-0123456789abcdef0")
    identity = client("sts", keys=user).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == ("arn:aws:iam::444455556666:user/alice", "444455556666")


def test_an_assume_role_can_be_denied_to_its_caller(aws, client):
    with aws.deny("sts:AssumeRole", resource=ROLE):
        with pytest.raises(ClientError, match="AccessDenied"):
            assumed(client("sts"))
        assumed(client("sts"), "arn:aws:iam::222222222222:role/other")
