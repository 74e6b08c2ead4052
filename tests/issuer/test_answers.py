"""Answers that are not what AWS would say, over the wire and into the process."""

import base64
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecrlogind.core.wire import Issued
from ecrlogind.issuer.authorization import read_authorization, server_time
from ecrlogind.issuer.refusals import Failed
from standin import Fault

from .conftest import EU, PUBLIC, US

NOW = 1_800_000_000.0


def entry(token="AWS:password", expires_at=NOW + 43200, **more):
    return {"authorizationToken": base64.b64encode(token.encode()).decode(), "expiresAt": expires_at, **more}


def refusal_of(data, now=NOW):
    with pytest.raises(Failed) as caught:
        read_authorization(data, now, "api.ecr.example")
    return caught.value.refusal


def test_an_answer_as_ecr_gives_it_is_taken():
    username, password, lifetime = read_authorization([entry("AWS:pass:word")], NOW, "host")

    assert (username, password.reveal(), lifetime) == ("AWS", "pass:word", timedelta(hours=12))


def test_an_answer_as_ecr_public_gives_it_is_taken():
    assert read_authorization(entry(), NOW, "host")[0] == "AWS"


@pytest.mark.parametrize(
    "expires_at",
    [str(NOW + 60), datetime.fromtimestamp(NOW + 60, UTC).isoformat(), "2027-01-15T08:01:00Z", NOW + 60.0],
)
def test_an_end_may_be_written_in_any_way_that_aws_has(expires_at):
    assert read_authorization([entry(expires_at=expires_at)], NOW, "host")[2] == timedelta(seconds=60)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        "data",
        [None],
        ["data"],
        [entry(), entry()],
        [[entry()]],
        [{"authorizationToken": entry()["authorizationToken"]}],
        [{"expiresAt": NOW + 60}],
        [entry() | {"authorizationToken": 7}],
        [entry() | {"authorizationToken": ""}],
        [entry() | {"authorizationToken": "no base64!"}],
        [entry() | {"authorizationToken": "QVdTOnBhc3N3b3Jk\n"}],
        [entry() | {"authorizationToken": "QVdTOnBhc3N3b3J"}],
        [entry() | {"authorizationToken": "Q\u00e9"}],
        [entry("password")],
        [entry("AWS:")],
        [entry("root:password")],
        [entry("aws:password")],
        [entry(":password")],
        [entry("AWS:pass\nword")],
        [entry("AWS:pass\r")],
        [entry("AWS:pass\x00word")],
        [entry("AWS:p\u00e4ssword")],
        [entry("AWS:pass word")],
        [entry("AWS:" + "x" * 100_000)],
    ],
)
def test_an_answer_without_one_whole_credential_is_malformed(data):
    assert refusal_of(data).code == "malformed_answer"


@pytest.mark.parametrize(
    "expires_at",
    [
        None,
        True,
        math.nan,
        math.inf,
        -math.inf,
        "",
        "NaN",
        "soon",
        "inf",
        [],
        {},
        1e300,
        10**400,
        253402300799,
        "9999-12-31",
    ],
)
def test_an_end_that_is_no_time_or_too_far_off_is_malformed(expires_at):
    assert refusal_of([entry(expires_at=expires_at)]).code == "malformed_answer"


@pytest.mark.parametrize("expires_at", [0, -1, 1420070400, NOW, NOW - 1, "1970-01-01T00:00:00Z", "1420070400"])
def test_a_credential_that_has_ended_is_expired_on_arrival(expires_at):
    assert refusal_of([entry(expires_at=expires_at)]).code == "expired_on_arrival"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["authorizationToken", "expiresAt", "x"]), inner)
    ),
    max_leaves=8,
)


@given(JSON | st.lists(st.fixed_dictionaries({"authorizationToken": JSON, "expiresAt": JSON}), max_size=2))
def test_no_json_whatsoever_does_more_than_be_refused(data):
    try:
        username, password, lifetime = read_authorization(data, NOW, "host")
    except Failed:
        return
    assert username == "AWS"
    assert password.reveal().isprintable()
    assert timedelta(0) < lifetime <= timedelta(hours=24)


@given(st.text(alphabet=st.characters(codec="ascii", categories=["Lu", "Nd", "Po", "Cc"])), st.integers(0, 2**40))
def test_a_credential_that_is_taken_is_the_text_behind_the_first_colon(password, ends):
    try:
        _, taken, _ = read_authorization([entry(f"AWS:{password}", ends)], NOW, "host")
    except Failed:
        return
    assert taken.reveal() == password


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Fri, 99 Foo 2026 25:61:61 GMT", "Fri, 31 Dec 99999 00:00:00 GMT"]
)
def test_without_a_usable_date_the_local_clock_counts(date):
    assert server_time(date, 7.0) == 7.0


def test_a_lifetime_counts_from_the_answer_s_own_date_whatever_the_local_clock_says(host):
    # The stand-in takes our signature, which its own clock would forbid: what counts here is the answer alone.
    date = datetime.now(UTC) + timedelta(days=300)
    changes = {"put": {"authorizationData.0.expiresAt": date.timestamp() + 600}}
    headers = {"Date": date.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    with host.aws.fault(Fault(service="ecr", headers=headers, **changes)):
        [issued] = host.issued(EU)

    assert timedelta(seconds=599) < issued.lifetime < timedelta(seconds=602)


def test_without_a_date_the_lifetime_counts_from_the_local_clock(host):
    with host.aws.fault(Fault(service="ecr", headers={"Date": None})):
        [issued] = host.issued(EU)

    assert timedelta(hours=11, minutes=59) < issued.lifetime <= timedelta(hours=12)


def test_whose_proxy_endpoint_an_answer_names_does_not_matter(host):
    with host.aws.fault(Fault(service="ecr", put={"authorizationData.0.proxyEndpoint": "https://evil.example"})):
        [issued] = host.issued(EU)

    assert "evil" not in str(issued)


MALFORMED = (
    {"put": {"authorizationData.0.authorizationToken": "bm8gY29sb24="}},
    {"put": {"authorizationData.0.expiresAt": math.nan}},
    {"put": {"authorizationData.0.expiresAt": 253402300799}},
    {"put": {"authorizationData.0.expiresAt": 10**400}},
    {"drop": ("authorizationData.0.expiresAt",)},
    {"drop": ("authorizationData.0.authorizationToken",)},
    {"drop": ("authorizationData",)},
    {"put": {"authorizationData": []}},
    {"put": {"authorizationData": "data"}},
    {"put": {"authorizationData": [7]}},
    {"put": {"": []}},
    {"put": {"": None}},
    {"rewrite": lambda document: {"authorizationData": document["authorizationData"] * 2}},
    {"body": "[" * 100_000},
    {"put": {"": "\ud800"}},
    {"body": ""},
    {"behaviour": "html"},
    {"behaviour": "redirect"},
    {"behaviour": "truncate"},
    {"behaviour": "huge"},
    {"behaviour": "gzip_bomb", "size": 30_000_000},
    {"body": "[]", "status": 400},
)


def test_an_answer_that_aws_would_not_give_is_malformed_and_the_others_go_on(host):
    answers = host.ask_beside(MALFORMED)

    codes = [(fault, each.refusal.code) for fault, each in zip(MALFORMED, answers, strict=True)]
    assert codes == [(fault, "malformed_answer") for fault in MALFORMED]
    too_large = ["more than 1 MiB" in each.refusal.message for each in answers]
    assert too_large == [fault.get("behaviour") == "huge" for fault in MALFORMED]
    assert {call.service for call in host.aws.calls()} == {"imds", "ecr"}, "no redirect was followed"


def test_an_error_without_a_word_of_aws_is_the_service_s(host):
    [answer] = host.ask_beside([{"body": "\x00", "status": 404}])

    assert answer.refusal.code == "service_error"


def test_a_connection_that_breaks_is_the_service_s_error(host):
    answers = host.ask_beside([{"behaviour": "close"}, {"behaviour": "reset"}])

    assert [each.refusal.code for each in answers] == ["service_error"] * 2


def test_ecr_public_is_trusted_no_more(host):
    with host.aws.fault(Fault(service="ecr-public", put={"authorizationData.authorizationToken": "AAAA"})):
        assert host.refusal(PUBLIC).code == "malformed_answer"


def test_a_role_s_keys_that_are_incomplete_are_malformed(host):
    from ecrlogind.core.identity import Identity
    from ecrlogind.core.wire import Call

    role = Identity(roles=("arn:aws:iam::222233334444:role/ci",))
    for rewrite in (lambda text: text.replace("SecretAccessKey", "Other"), lambda text: text[: len(text) // 2]):
        with host.aws.fault(Fault(service="sts", rewrite=rewrite)):
            assert host.refusal(Call(role, "eu-west-1")).code == "malformed_answer"


def test_a_byte_a_second_does_not_outlast_the_deadline(host):
    with host.aws.fault(Fault(service="ecr", region="eu-west-1", behaviour="drip", interval=0.2)):
        answers = {each.call: each for each in host.ask(EU, US, deadline=timedelta(seconds=5))}

    assert isinstance(answers[US], Issued)
    assert answers[EU].refusal.code == "deadline"
    assert "did not answer in time" in answers[EU].refusal.message


def test_a_header_that_drips_does_not_outlast_the_deadline_either(host, listener):
    port, _ = listener(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000, pause=0.2)

    refusal = host.refusal(
        endpoints={"ecr": f"http://127.0.0.1:{port}"}, environment=host.keys(), deadline=timedelta(seconds=3)
    )

    assert refusal.code == "deadline"
    assert "did not answer in time" in refusal.message


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x50",
    ],
)
def test_what_is_not_http_is_malformed(host, listener, answer):
    port, _ = listener(answer)

    assert host.refusal(endpoints={"ecr": f"http://127.0.0.1:{port}"}, environment=host.keys()).code in (
        "malformed_answer",
        "service_error",
    )


def test_tls_with_what_speaks_none_is_a_tls_refusal(host, listener):
    port, _ = listener(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert host.refusal(endpoints={"ecr": f"https://127.0.0.1:{port}"}, environment=host.keys()).code == "tls"
