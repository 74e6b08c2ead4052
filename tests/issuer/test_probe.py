"""What a registry says of a credential."""

import pytest

from ecrlogind.core.credential import Secret
from ecrlogind.core.wire import Probe
from standin import Fault

from .conftest import EU, PUBLIC, US

NAME = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def password(host):
    [issued] = host.issued(EU)
    host.aws.forget_calls()
    return issued.password


def probed(host, *probes, **parts):
    return [each.refusal for each in host.ask(probes=probes, **parts)]


def test_a_credential_that_the_registry_takes_is_good(host, password):
    assert probed(host, Probe(NAME, "AWS", password)) == [None]

    [call] = host.aws.calls()
    assert (call.service, call.action, call.host, call.region) == ("registry", "ping", NAME, "eu-west-1")


def test_over_tls_and_a_proxy_it_is_the_registry_s_own_name_that_counts(host, password, everywhere):
    assert probed(host, Probe(NAME, "AWS", password), **everywhere.parts) == [None]

    assert everywhere.proxy.asked == [f"{NAME}:443"]
    assert host.aws.calls()[0].secure


@pytest.mark.parametrize("images", [("base:latest", "team/app@sha256:0"), ("base",)])
def test_images_that_may_be_pulled_are_good(host, password, images):
    digest = host.aws.world.add_image("team/app:1")
    host.aws.world.add_image("base:latest")
    images = tuple(image.replace("sha256:0", digest) for image in images)

    assert probed(host, Probe(NAME, "AWS", password, images=images)) == [None]

    assert len(host.aws.calls(action="manifest")) == len(images)


def test_a_password_that_is_not_taken_any_more_is_invalid(host, password):
    host.aws.revoke(region="eu-west-1")

    [refusal] = probed(host, Probe(NAME, "AWS", password, images=("base:latest",)))

    assert refusal.code == "invalid_keys"
    assert NAME in refusal.message
    assert host.aws.calls(action="manifest") == []


def test_a_password_that_has_ended_is_told_in_the_registry_s_words(host, password):
    host.aws.world.clock_skew = 13 * 3600

    [refusal] = probed(host, Probe(NAME, "AWS", password))

    assert refusal.code == "invalid_keys"
    assert "Your authorization token has expired" in refusal.message


def test_a_password_of_another_region_is_not_taken(host, password):
    [refusal] = probed(host, Probe(NAME.replace("eu-west-1", "us-east-1"), "AWS", password))

    assert (refusal.code, "400" in refusal.message) == ("invalid_keys", True)


def test_a_denied_pull_comes_before_an_image_that_is_not_there(host, password):
    host.aws.world.add_image("base:latest")
    with host.aws.deny("ecr:BatchGetImage", resource="*:repository/base"):
        [refusal] = probed(host, Probe(NAME, "AWS", password, images=("gone:1", "base:latest")))

    assert refusal.code == "pull_denied"
    assert "ecr:BatchGetImage" in refusal.message


def test_an_image_that_is_not_there_says_nothing_against_the_credential(host, password):
    [refusal] = probed(host, Probe(NAME, "AWS", password, images=("gone:1",)))

    assert refusal.code == "service_error"
    assert "NAME_UNKNOWN" in refusal.message
    assert "The login itself is good" in refusal.hint


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"body": "", "status": 429}, "throttled"),
        ({"body": "", "status": 503}, "service_error"),
        ({"behaviour": "redirect"}, "malformed_answer"),
        ({"body": "", "status": 404}, "malformed_answer"),
        ({"behaviour": "huge"}, "malformed_answer"),
        ({"behaviour": "reset"}, "service_error"),
    ],
)
def test_a_registry_in_trouble_says_nothing_of_the_credential(host, password, fault, code):
    with host.aws.fault(Fault(service="registry", **fault)):
        assert [each.code for each in probed(host, Probe(NAME, "AWS", password))] == [code]

    assert len(host.aws.calls()) == 1, "no redirect was followed"


def test_ecr_public_takes_a_bearer_token_in_exchange(host):
    [issued] = host.issued(PUBLIC)
    host.aws.world.add_image("nginx/nginx:1")
    host.aws.forget_calls()

    probe = Probe("public.ecr.aws", "AWS", issued.password, public=True, images=("nginx/nginx:1",))
    assert probed(host, probe) == [None]

    assert [call.action for call in host.aws.calls()] == ["ping", "token", "ping", "manifest", "token", "manifest"]


def test_ecr_public_s_refusal_of_a_credential_is_invalid_keys(host):
    [refusal] = probed(host, Probe("public.ecr.aws", "AWS", Secret("wrong"), public=True))

    assert refusal.code == "invalid_keys"


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="https://evil.example/token/",service="public.ecr.aws"',
        'Bearer realm="http://public.ecr.aws/token/",service="public.ecr.aws"',
        'Bearer realm="https://public.ecr.aws:8443/token/"',
        'Bearer realm="https://user@public.ecr.aws/token/"',
        'Basic realm="https://public.ecr.aws/"',
        "Bearer",
        None,
    ],
)
def test_the_credential_goes_to_nobody_whom_a_challenge_names(host, challenge):
    headers = {"WWW-Authenticate": challenge}
    with host.aws.fault(Fault(service="registry", action="ping", headers=headers)):
        [refusal] = probed(host, Probe("public.ecr.aws", "AWS", Secret("canary-of-mine"), public=True))

    assert refusal.code == "malformed_answer"
    assert host.aws.calls(action="token") == []


def test_probes_and_calls_go_side_by_side_and_each_probe_is_told_apart(host, password):
    answers = host.ask(
        US, probes=(Probe(NAME, "AWS", password, tag="good"), Probe(NAME, "AWS", Secret("wrong"), tag="bad"))
    )

    verdicts = {each.tag: each.refusal and each.refusal.code for each in answers if hasattr(each, "tag")}
    assert verdicts == {"good": None, "bad": "invalid_keys"}
    assert len(answers) == 3
