import base64
import json

import pytest

from standin import Role

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def registry(ask):
    """Return a function that asks the registry at a host, with a password or without."""

    def registry(path="/v2/", password=None, host=HOST, method="GET"):
        headers = {"Host": host}
        if password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()
        return ask(method, path, headers)

    return registry


@pytest.fixture
def issue(aws, client):
    """Return a function that has a password issued in a region."""

    def issue(region="eu-west-1", keys=None):
        if region == "public":
            client("ecr-public", "us-east-1").get_authorization_token()
        else:
            client("ecr", region, keys=keys).get_authorization_token()
        return aws.newest_password(region)

    return issue


def code(answer):
    return json.loads(answer.body)["errors"][0]["code"]


def message(answer):
    return json.loads(answer.body)["errors"][0]["message"]


def test_who_brings_no_password_is_asked_for_one_as_ecr_asks(registry):
    answer = registry()

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == f'Basic realm="https://{HOST}/",service="ecr.amazonaws.com"'


def test_a_password_opens_every_registry_of_its_region_in_every_spelling(registry, issue):
    password = issue()

    for host in (
        HOST,
        "999988887777.dkr.ecr.eu-west-1.amazonaws.com",
        "111122223333.dkr.ecr-fips.eu-west-1.amazonaws.com",
        "111122223333.dkr-ecr.eu-west-1.on.aws",
    ):
        assert registry("/v2/", password, host).status == 200


def test_a_password_of_another_region_is_a_bad_request(registry, issue):
    assert registry("/v2/", issue("us-east-1")).status == 400


def test_an_unknown_password_is_not_authorized(registry):
    assert registry("/v2/", "never issued").status == 401


def test_a_password_past_its_end_is_told_so(aws, registry, issue):
    password = issue()
    assert aws.accepts(HOST, password)
    aws.world.clock_skew = 12 * 3600 + 1

    answer = registry("/v2/", password)
    assert (answer.status, message(answer)) == (
        403,
        "Your authorization token has expired. Reauthenticate and try again.",
    )
    assert not aws.accepts(HOST, password)


def test_a_revoked_password_is_taken_no_more_and_the_others_are(aws, registry, issue):
    first, second, elsewhere = issue(), issue(), issue("us-east-1")

    aws.revoke(first)
    assert [registry("/v2/", each).status for each in (first, second)] == [401, 200]
    aws.revoke(region="eu-west-1")
    assert registry("/v2/", second).status == 401
    assert aws.accepts("111122223333.dkr.ecr.us-east-1.amazonaws.com", elsewhere)
    aws.revoke()
    assert not aws.accepts("111122223333.dkr.ecr.us-east-1.amazonaws.com", elsewhere)


def test_registries_can_be_made_to_take_the_newest_password_alone(aws, registry, issue):
    aws.world.passwords.only_newest = True
    first = issue()
    issue("us-east-1")
    assert registry("/v2/", first).status == 200

    second = issue()
    assert [registry("/v2/", each).status for each in (first, second)] == [401, 200]


def test_an_alias_is_the_registry_it_was_made_for(aws, registry, issue):
    aws.world.aliases["registry.example.org"] = ("111122223333", "us-east-1")

    assert registry("/v2/", issue("us-east-1"), "registry.example.org").status == 200
    assert registry("/v2/", issue("eu-west-1"), "registry.example.org").status == 400


def test_a_manifest_is_found_where_an_image_was_put(aws, registry, issue):
    password = issue()
    digest = aws.world.add_image("team/base:1.2", host=HOST)

    for method in ("GET", "HEAD"):
        answer = registry("/v2/team/base/manifests/1.2", password, method=method)
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
        assert bool(answer.body) == (method == "GET")
    assert registry(f"/v2/team/base/manifests/{digest}", password).status == 200
    missing = registry("/v2/team/base/manifests/2", password)
    assert (missing.status, code(missing)) == (404, "MANIFEST_UNKNOWN")
    unknown = registry("/v2/team/other/manifests/1", password)
    assert (unknown.status, code(unknown)) == (404, "NAME_UNKNOWN")
    assert (
        registry("/v2/team/base/manifests/1.2", password, "999988887777.dkr.ecr.eu-west-1.amazonaws.com").status == 404
    )


def test_an_identity_that_may_log_in_only_is_denied_the_manifest_with_the_missing_action(aws, registry, issue):
    aws.world.add_image("base:latest")
    password = issue()

    with aws.deny("ecr:BatchGetImage", identity="*:assumed-role/runner/*"):
        assert registry("/v2/", password).status == 200
        answer = registry("/v2/base/manifests/latest", password)
    assert (answer.status, code(answer)) == (403, "DENIED")
    resource = "arn:aws:ecr:eu-west-1:111122223333:repository/base"
    assert f"is not authorized to perform: ecr:BatchGetImage on resource: {resource}" in message(answer)
    assert registry("/v2/base/manifests/latest", password).status == 200


def test_a_session_policy_for_pulling_keeps_a_push_out(aws, client, registry, issue):
    aws.world.add_image("base:latest")
    aws.world.identities.roles["arn:aws:iam::111122223333:role/broad"] = Role()
    actions = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    pull = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    asked = {"RoleArn": "arn:aws:iam::111122223333:role/broad", "RoleSessionName": "host"}
    broad = client("sts").assume_role(**asked)["Credentials"]
    narrow = client("sts").assume_role(**asked, Policy=pull)["Credentials"]

    push = "/v2/base/blobs/uploads/"
    assert registry(push, issue(keys=broad), method="POST").status == 202
    password = issue(keys=narrow)
    assert registry("/v2/base/manifests/latest", password).status == 200
    assert registry(push, password, method="POST").status == 403


def test_a_request_to_a_registry_is_recorded_with_whose_password_it_was(aws, registry, issue):
    registry("/v2/", issue())
    registry("/v2/")

    known, unknown = aws.calls(service="registry", action="ping")
    assert (known.host, known.region, known.status) == (HOST, "eu-west-1", 200)
    assert known.identity == "arn:aws:sts::111122223333:assumed-role/runner/i-0123456789abcdef0"
    assert (unknown.identity, unknown.status) == (None, 401)


def test_ecr_public_takes_a_bearer_token_that_it_gives_for_the_password(aws, ask, registry, issue):
    host = "public.ecr.aws"
    aws.world.add_image("team/base:1", host=host)
    password = issue("public")
    challenge = registry("/v2/", host=host)
    assert challenge.status == 401
    assert challenge.headers["WWW-Authenticate"] == (
        'Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws"'
    )
    assert registry("/v2/", password, host).status == 401

    token = registry("/token/?service=public.ecr.aws&scope=aws", password, host)
    bearer = {"Host": host, "Authorization": "Bearer " + json.loads(token.body)["token"]}
    assert ask("GET", "/v2/", bearer).status == 200
    assert ask("GET", "/v2/team/base/manifests/1", bearer).status == 200
    assert ask("GET", "/v2/team/base/manifests/2", bearer).status == 404


def test_ecr_public_gives_no_token_for_a_password_that_is_not_good(aws, registry, issue):
    password = issue("public")
    aws.revoke(password)

    assert registry("/token/", password, "public.ecr.aws").status == 403
    assert registry("/token/", issue(), "public.ecr.aws").status == 400
    assert registry("/token/", None, "public.ecr.aws").status == 200
