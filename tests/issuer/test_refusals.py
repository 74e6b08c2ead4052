from datetime import timedelta

import pytest

from ecrlogind.core.credential import Secret
from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Call, Issued, Probe, Probed, Refused
from standin import Fault, Proxy, Role

from .conftest import EU, US

# What cannot work ends after this; where something else must work meanwhile, it has longer.
SHORT = timedelta(seconds=1.5)
LONGER = timedelta(seconds=5)
CI = "arn:aws:iam::222233334444:role/ci"

IN_EU = {"service": "ecr", "region": "eu-west-1"}


def no_network(host, free_port):
    dead = {"ecr": f"http://127.0.0.1:{free_port}"}
    return host.refusal(endpoints=dead, environment=host.keys(), deadline=SHORT), (f"127.0.0.1:{free_port}", "refused")


def dns(host, free_port):
    nowhere = {"ecr": "https://registry.invalid"}
    return host.refusal(endpoints=nowhere, environment=host.keys(), deadline=SHORT), ("registry.invalid", "resolve")


def tls(host, free_port):
    return host.refusal(endpoints=host.aws.tls_endpoints), ("certificate", "ca_bundle")


def proxy(host, free_port):
    with Proxy("refuse") as proxy:
        return host.refusal(endpoints=host.aws.tls_endpoints, proxy=proxy.url), (proxy.url[7:], "403", "NO_PROXY")


def imds_unreachable(host, free_port):
    dead = {"imds": f"http://127.0.0.1:{free_port}"}
    return host.refusal(endpoints=dead, deadline=SHORT), (f"IMDS at 127.0.0.1:{free_port}", "refused")


def no_role(host, free_port):
    host.aws.instance.role = None
    return host.refusal(), ("no role is attached", "instance profile")


def no_credentials(host, free_port):
    return host.refusal(environment={"AWS_EC2_METADATA_DISABLED": "true"}), ("AWS_EC2_METADATA_DISABLED",)


def invalid_keys(host, free_port):
    keys = host.keys()
    host.aws.world.identities.forget(keys["AWS_ACCESS_KEY_ID"])
    return host.refusal(EU, environment=keys), ("UnrecognizedClientException", "127.0.0.1")


def clock_skew(host, free_port):
    host.aws.world.clock_skew = 3 * 3600
    return host.refusal(), ("clock is 3 hours behind", "chronyd")


def access_denied(host, free_port):
    with host.aws.deny("ecr:GetAuthorizationToken", identity="*:assumed-role/ci/*"):
        refusal, _ = refused_beside_issued(host, Call(Identity(roles=(CI,)), "eu-west-1"))
    return refusal, ("ecr:GetAuthorizationToken is denied to " + CI, "policy")


def assume_role_denied(host, free_port):
    host.aws.world.identities.roles[CI] = Role(external_id="runners")
    refusal, _ = refused_beside_issued(host, Call(Identity(roles=(CI,), external_id="wrong"), "eu-west-1"))
    return refusal, (CI, "trust policy", "external id", "sts:AssumeRole")


def throttled(host, free_port):
    with host.aws.fault(Fault(error="ThrottlingException", retry_after=7, **IN_EU)):
        refusal, _ = refused_beside_issued(host, EU)
    assert refusal.retry_after == timedelta(seconds=7)
    return refusal, ("less often",)


def service_error(host, free_port):
    with host.aws.fault(Fault(error="ServerException", status=500, **IN_EU)):
        refusal, _ = refused_beside_issued(host, EU)
    return refusal, ("500 ServerException: made to fail",)


def malformed_answer(host, free_port):
    with host.aws.fault(Fault(behaviour="html", **IN_EU)):
        refusal, _ = refused_beside_issued(host, EU)
    return refusal, ("captive portal",)


def expired_on_arrival(host, free_port):
    with host.aws.fault(Fault(put={"authorizationData.0.expiresAt": 1420070400}, **IN_EU)):
        refusal, _ = refused_beside_issued(host, EU)
    return refusal, ("ended", "days before it was given")


def deadline(host, free_port):
    with host.aws.fault(Fault(behaviour="hang", **IN_EU)):
        refusal, _ = refused_beside_issued(host, EU, deadline=LONGER)
    return refusal, ("127.0.0.1", "in time", "firewall")


def pull_denied(host, free_port):
    name = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
    host.aws.world.add_image("base:latest")
    [issued] = host.issued(EU)
    with host.aws.deny("ecr:BatchGetImage"):
        [probed] = host.ask(probes=(Probe(name, "AWS", issued.password, images=("base:latest",)),))
    return probed.refusal, (name, "base:latest", "ecr:BatchGetImage is denied", "repository's policy")


def refused_beside_issued(host, call, **parts):
    """Return the refusal of *call*, and what another region's call got in the meantime."""
    answers = host.ask(call, US, **parts)
    [refused] = [each for each in answers if isinstance(each, Refused)]
    [issued] = [each for each in answers if isinstance(each, Issued)]
    assert (refused.call, issued.call) == (call, US)
    return refused.refusal, issued


# The last one is the keeper's word for a process that gave no answer.
@pytest.mark.parametrize("code", [code for code in Code if code is not Code.ISSUER_FAILED])
def test_each_code_is_what_its_cause_is_called_and_says_what_and_what_to_do(code, host, free_port):
    refusal, said = globals()[code](host, free_port)

    assert refusal.code == code
    for words in said:
        assert words in f"{refusal.message} | {refusal.hint}"
    for line in (refusal.message, refusal.hint):
        assert line.isascii()
        assert line.isprintable()
        assert len(line) > 10


AWS_ERRORS = (
    ("ThrottleException", 400, "throttled"),
    ("TooManyRequestsException", 400, "throttled"),
    ("RequestLimitExceeded", 503, "throttled"),
    ("Whatever", 429, "throttled"),
    ("ExpiredTokenException", 400, "invalid_keys"),
    ("ExpiredToken", 403, "invalid_keys"),
    ("UnrecognizedClientException", 400, "invalid_keys"),
    ("InvalidSignatureException", 400, "invalid_keys"),
    ("AccessDeniedException", 400, "access_denied"),
    ("ServiceUnavailable", 503, "service_error"),
    ("InvalidParameterException", 400, "service_error"),
)


def test_aws_error_codes_have_their_place(host):
    answers = host.ask_beside([{"error": error, "status": status} for error, status, _ in AWS_ERRORS])

    codes = [(error, status, each.refusal.code) for (error, status, _), each in zip(AWS_ERRORS, answers, strict=True)]
    assert codes == list(AWS_ERRORS)
    assert len(host.aws.calls(service="ecr")) == len(AWS_ERRORS) + 1, "the keeper owns retrying"


@pytest.mark.parametrize(("skew", "code"), [(-7200, "clock_skew"), (200, "invalid_keys")])
def test_a_signature_that_is_not_taken_is_the_clock_s_fault_only_if_that_is_off(host, skew, code):
    with host.aws.fault(Fault(service="ecr", error="InvalidSignatureException")):
        host.aws.world.clock_skew = skew
        # The answer's own Date tells; what the stand-in thinks of our signature does not come to pass.
        assert host.refusal().code == code


def test_the_text_of_a_server_is_quoted_in_short_and_without_what_could_be_a_token(host):
    token = "IQoJb3JpZ2luX2Vj" * 20
    text = f"\x1b[31mThe Canonical String\nshould have been x-amz-security-token:{token}\x00 \u202e" + "x y " * 400
    with host.aws.fault(Fault(service="ecr", error="AccessDeniedException", message=text)):
        refusal = host.refusal()

    assert token[:64] not in refusal.message
    assert "\x1b" not in refusal.message
    assert len(refusal.message) < 700


def test_a_wrong_signature_is_told_without_the_request_that_aws_quotes(host):
    text = "The request signature we calculated does not match.\n\nx-amz-security-token:shortsecret"
    with host.aws.fault(Fault(service="ecr", error="SignatureDoesNotMatch", message=text)):
        refusal = host.refusal()

    assert "does not match" in refusal.message
    assert "shortsecret" not in refusal.message


def test_a_server_can_ask_for_a_wait_of_an_hour_at_most_and_of_no_nonsense(host):
    waits = {
        "Wed, 21 Oct 2099 07:28:00 GMT": timedelta(hours=1),
        "1000000000000": timedelta(hours=1),
        "2.5": timedelta(seconds=2.5),
        "soon": None,
        "nan": None,
        "-5": None,
        "Wed, 21 Oct 2015 07:28:00 GMT": timedelta(0),
    }

    answers = host.ask_beside([{"error": "ThrottlingException", "retry_after": wait} for wait in waits])

    assert [each.refusal.retry_after for each in answers] == list(waits.values())


@pytest.mark.parametrize(
    ("files", "environment", "profile", "words"),
    [
        ({}, {}, "nowhere", "no profile nowhere"),
        ({"AWS_CONFIG_FILE": "[default\nregion="}, {}, None, "INI"),
        ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /does/not/exist\n"}, {}, None, "cannot be run"),
        ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /bin/false\n"}, {}, None, "gave none"),
        ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /bin/echo canary\n"}, {}, None, "JSONDecodeError"),
        ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /bin/echo []\n"}, {}, None, "AttributeError"),
        ({"AWS_CONFIG_FILE": f"[default]\nrole_arn = {CI}\nsource_profile = gone\n"}, {}, None, "does not exist"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "[default]\naws_access_key_id = AKIA\n"}, {}, None, "incomplete"),
        ({}, {"AWS_ACCESS_KEY_ID": "AKIA"}, None, "incomplete"),
        ({}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/gone", "AWS_ROLE_ARN": CI}, None, "FileNotFoundError"),
    ],
)
def test_a_chain_that_gives_nothing_says_where_it_broke(host, files, environment, profile, words):
    refusal = host.refusal(Call(Identity(profile=profile), "eu-west-1"), files=files, environment=environment)

    assert refusal.code == "no_credentials"
    assert words in refusal.message
    assert "canary" not in refusal.message
    assert host.aws.calls(service="ecr") == []


def test_what_a_credential_process_writes_on_stderr_is_not_quoted(host, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho the secret is canary >&2\nexit 1\n")
    program.chmod(0o755)

    refusal = host.refusal(files={"AWS_CONFIG_FILE": f"[default]\ncredential_process = {program}\n"})

    assert refusal.code == "no_credentials"
    assert "canary" not in refusal.message + host.stderr


def test_settings_that_sts_would_never_take_are_the_role_s_refusal(host):
    refusal = host.refusal(Call(Identity(roles=(CI,), external_id="x"), "eu-west-1"))

    assert refusal.code == "assume_role_denied"
    assert "ExternalId" in refusal.message


def test_a_role_that_cannot_be_assumed_refuses_all_its_calls_after_one_try(host):
    role = Identity(roles=(CI,))
    with host.aws.deny("sts:AssumeRole"):
        answers = host.ask(Call(role, "eu-west-1"), Call(role, "us-east-1"))

    assert [each.refusal.code for each in answers] == ["assume_role_denied"] * 2
    assert len(host.aws.calls(service="sts")) == 1


def test_a_region_without_the_variant_is_named(host):
    refusal = host.refusal(
        Call(HOST, "eu-isoe-west-1", dual_stack=True), environment=host.keys(), endpoints={"ecr": None}, deadline=SHORT
    )

    assert refusal.code in ("dns", "service_error")
    assert "eu-isoe-west-1" in refusal.message


@pytest.mark.parametrize(
    ("flaw", "words"), [("expired", "expired"), ("other_name", "not valid for"), ("other_ca", "certificate")]
)
def test_a_certificate_that_does_not_fit_is_refused_and_nothing_is_sent(host, flaw, words):
    host.aws.flaw(flaw)

    refusal = host.refusal(endpoints=host.aws.tls_endpoints, ca=host.aws.ca_file.read_text())

    assert refusal.code == "tls"
    assert words in refusal.message
    assert host.aws.calls(service="ecr") == []


@pytest.mark.parametrize("ca", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_bundle_that_holds_nothing_trusts_nobody(host, ca):
    refusal = host.refusal(endpoints=host.aws.tls_endpoints, ca=ca)

    assert refusal.code == "tls"
    assert "holds no certificate" in refusal.message


@pytest.mark.parametrize(("mode", "words"), [("refuse", "403"), ("authenticate", "407"), ("hang", "in time")])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_in_the_way_is_the_proxy_s_fault(host, mode, words, scheme):
    endpoints = host.aws.tls_endpoints if scheme == "https" else {}
    with Proxy(mode) as proxy:
        refusal = host.refusal(
            endpoints=endpoints, environment=host.keys() | {f"{scheme}_proxy": proxy.url}, deadline=LONGER
        )

    if scheme == "https" or mode == "authenticate":
        assert (refusal.code, words in refusal.message) == ("proxy", True)
    else:  # what it answers to a plain request cannot be told from the server's own answer
        assert refusal.code in ("access_denied", "deadline")
    assert host.aws.calls(service="ecr") == []


def test_a_proxy_that_is_not_there_is_named_without_its_password(host, free_port):
    refusal = host.refusal(proxy=f"http://user:canary@127.0.0.1:{free_port}", environment=host.keys(), deadline=SHORT)

    assert refusal.code == "proxy"
    assert "canary" not in str(refusal)


@pytest.mark.parametrize("proxy", ["ftp://proxy.example", "http://proxy.example:port", "http://[", "http://"])
def test_a_proxy_that_is_no_url_is_a_refusal(host, proxy):
    assert host.refusal(environment=host.keys() | {"HTTP_PROXY": proxy}).code == "proxy"


def test_a_proxy_carries_everything_but_imds(host, everywhere):
    role = Identity(roles=(CI,))

    host.issued(EU, Call(role, "eu-west-1"), **everywhere.parts)

    assert {each.proxied for each in host.aws.calls(service="imds")} == {False}
    assert set(everywhere.proxy.asked) == {"api.ecr.eu-west-1.amazonaws.com:443", "sts.eu-west-1.amazonaws.com:443"}


def test_the_settings_proxy_wins_over_the_environment_and_no_proxy_holds_for_the_latter(host):
    with Proxy() as wanted, Proxy("refuse") as other:
        host.issued(EU, proxy=wanted.url, environment={"HTTP_PROXY": other.url, "NO_PROXY": "127.0.0.1"})
        host.issued(EU, environment={"HTTP_PROXY": other.url, "NO_PROXY": "127.0.0.1"})
        assert wanted.asked
        assert other.asked == []


def test_a_user_and_password_in_the_proxy_s_url_let_us_in(host, listener):
    port, heard = listener(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    refusal = host.refusal(
        endpoints=host.aws.tls_endpoints, proxy=f"http://us%40er:p%3Ass@127.0.0.1:{port}", environment=host.keys()
    )

    assert refusal.code == "proxy"
    assert b"Proxy-Authorization: Basic dXNAZXI6cDpzcw==\r\n" in heard()
    assert b"CONNECT 127.0.0.1:" in heard()


def test_a_probe_of_a_registry_that_is_not_there_is_no_word_against_the_credential(host, free_port):
    probe = Probe("111122223333.dkr.ecr.eu-west-1.amazonaws.com", "AWS", Secret("password"))

    [probed] = host.ask(probes=(probe,), endpoints={"registry": f"http://127.0.0.1:{free_port}"})

    assert isinstance(probed, Probed)
    assert probed.refusal.code == "no_network"
