import base64
import gzip
import http.client
import json
import math
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from standin import Fault, StandIn

TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


@pytest.fixture
def token(ask):
    """Return a function that asks IMDS for a token: the smallest call there is."""
    return lambda **options: ask("PUT", "/latest/api/token", TTL, **options)


@pytest.fixture
def ecr(client):
    return client("ecr")


@pytest.mark.parametrize(
    ("code", "status", "sent"),
    [
        ("ThrottlingException", None, 400),
        ("ThrottleException", None, 400),
        ("ServerException", None, 500),
        ("ExpiredTokenException", None, 400),
        ("UnrecognizedClientException", None, 400),
        ("InvalidSignatureException", None, 400),
        ("RequestExpired", None, 400),
        ("ThrottlingException", 429, 429),
    ],
)
def test_an_error_is_sent_as_the_service_would(aws, ecr, code, status, sent):
    with aws.fault(Fault(service="ecr", error=code, status=status, retry_after=7)):
        with pytest.raises(ClientError) as refused:
            ecr.get_authorization_token()

    metadata = refused.value.response["ResponseMetadata"]
    assert refused.value.response["Error"]["Code"] == code
    assert (metadata["HTTPStatusCode"], metadata["HTTPHeaders"]["retry-after"]) == (sent, "7")
    assert aws.calls(service="ecr")[0].fault == code
    assert aws.passwords() == []


def test_an_error_of_sts_is_xml_and_has_its_own_names(aws, client):
    with aws.fault(Fault(service="sts", error="ThrottlingException")), pytest.raises(ClientError) as refused:
        client("sts").get_caller_identity()

    assert refused.value.response["Error"]["Code"] == "Throttling"


def test_a_fault_strikes_whom_it_names_and_nobody_else(aws, client):
    user = aws.user("444455556666")
    fault = Fault(service="ecr", action="Get*", region="eu-*", identity=user.arn, error="ServerException")
    with aws.fault(fault):
        with pytest.raises(ClientError):
            client("ecr", keys=user).get_authorization_token()
        client("ecr").get_authorization_token()
        client("ecr", "us-east-1", keys=user).get_authorization_token()
        client("ecr-public", "us-east-1", keys=user).get_authorization_token()


def test_a_fault_can_strike_a_number_of_times(aws, token):
    aws.fault(Fault(service="imds", error="Throttled", status=429, times=2))

    assert [token().status for _ in range(3)] == [429, 429, 200]


def test_the_newest_fault_strikes_first_and_lifting_it_leaves_the_older(aws, token):
    aws.fault(Fault(service="imds", error="Old", status=500))
    with aws.fault(Fault(service="imds", error="New", status=503)):
        assert token().status == 503
    assert token().status == 500
    aws.lift_faults()
    assert token().status == 200


def test_latency_delays_the_real_answer(aws, token):
    with aws.fault(Fault(service="imds", latency=0.2)):
        before = time.monotonic()
        assert token().status == 200
        assert time.monotonic() - before >= 0.2


def test_a_hung_call_is_recorded_and_ends_without_an_answer_when_the_fault_is_lifted(aws, token):
    ended = []

    def ask():
        try:
            token()
        except http.client.RemoteDisconnected as end:
            ended.append(end)

    with aws.fault(Fault(service="imds", behaviour="hang")):
        thread = threading.Thread(target=ask)
        thread.start()
        [call] = aws.wait_for_calls(1, service="imds", fault="hang")
        assert call.status is None
        assert thread.is_alive()
    thread.join(5)
    assert len(ended) == 1


def test_a_hung_call_holds_no_other_up(aws, client, ecr):
    hung = client("ecr", "us-east-1")

    def hang():
        with pytest.raises(ConnectionClosedError):
            hung.get_authorization_token()

    thread = threading.Thread(target=hang)
    with aws.fault(Fault(service="ecr", region="us-east-1", behaviour="hang")):
        thread.start()
        aws.wait_for_calls(1, service="ecr", region="us-east-1")
        ecr.get_authorization_token()
    thread.join(10)
    assert not thread.is_alive()


def test_a_dripping_answer_is_whole_in_the_end(aws, token):
    with aws.fault(Fault(service="imds", behaviour="drip", interval=0.001)):
        answer = token()

    assert (answer.status, len(answer.body)) == (200, 54)


def test_a_dripping_answer_outlives_every_timeout_between_two_bytes(aws, token):
    with aws.fault(Fault(service="imds", behaviour="drip", interval=0.02)):
        before = time.monotonic()
        token(timeout=0.5)
        assert time.monotonic() - before > 0.5


def test_a_huge_answer_parses_all_the_same(aws, ecr):
    with aws.fault(Fault(service="ecr", behaviour="huge", size=3_000_000)):
        answer = ecr.get_authorization_token()

    assert int(answer["ResponseMetadata"]["HTTPHeaders"]["content-length"]) > 3_000_000
    assert answer["authorizationData"]


def test_a_gzip_bomb_is_small_on_the_wire(aws, ask):
    with aws.fault(Fault(service="imds", behaviour="gzip_bomb", size=20_000_000)):
        answer = ask("PUT", "/latest/api/token", TTL)

    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.body) < 100_000
    assert len(gzip.decompress(answer.body)) > 20_000_000


def test_a_redirect_leads_to_the_metadata_service(aws, token):
    with aws.fault(Fault(service="imds", behaviour="redirect")):
        answer = token()

    assert (answer.status, answer.headers["Location"][:30]) == (302, "http://169.254.169.254/latest/")


def test_a_captive_portal_answers_with_a_page(aws, token):
    with aws.fault(Fault(service="imds", behaviour="html")):
        answer = token()

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_a_connection_can_break_in_the_middle_of_the_body(aws, token):
    with aws.fault(Fault(service="imds", behaviour="truncate")), pytest.raises(http.client.IncompleteRead):
        token()


def test_a_connection_can_close_before_the_answer(aws, token):
    with aws.fault(Fault(service="imds", behaviour="close")), pytest.raises(http.client.RemoteDisconnected):
        token()


def test_a_connection_can_be_reset(aws, token):
    with aws.fault(Fault(service="imds", behaviour="reset")), pytest.raises(ConnectionResetError) as broken:
        token()
    assert not isinstance(broken.value, http.client.RemoteDisconnected)


@pytest.fixture
def token_over_tls(aws):
    """Return a function that asks for the same over TLS."""

    def token():
        context = ssl.create_default_context(cafile=aws.ca_file)
        with closing(http.client.HTTPSConnection(*aws.tls_address, context=context, timeout=5)) as connection:
            connection.request("PUT", "/latest/api/token", headers=TTL)
            answer = connection.getresponse()
            answer.read()
            return answer.status

    return token


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        ("truncate", http.client.IncompleteRead),
        ("close", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
    ],
)
def test_connections_break_over_tls_too(aws, token_over_tls, behaviour, seen):
    with aws.fault(Fault(service="imds", behaviour=behaviour)), pytest.raises(seen):
        token_over_tls()
    assert token_over_tls() == 200


@pytest.mark.parametrize("behaviour", ["close", "reset"])
def test_a_connection_can_be_ended_at_the_gate_before_tls_is_spoken(aws, token_over_tls, behaviour):
    with aws.fault(Fault(service="connection", action="tls", behaviour=behaviour)), pytest.raises(OSError):
        token_over_tls()
    assert aws.calls() == []
    assert token_over_tls() == 200


def test_botocore_takes_half_an_answer_for_an_empty_one(aws, ecr):
    with aws.fault(Fault(service="ecr", behaviour="truncate")):
        assert "authorizationData" not in ecr.get_authorization_token()


def test_a_connection_can_hang_at_the_gate(aws):
    with aws.fault(Fault(service="connection", action="plain", behaviour="hang")):
        with socket.create_connection(("127.0.0.1", urlsplit(aws.url).port)) as connection:
            connection.settimeout(0.2)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(1)
    assert aws.calls() == []


def test_a_fault_for_everything_leaves_the_gate_alone(aws, token):
    with aws.fault(Fault(error="Any", status=500)):
        assert token().status == 500


def raw(aws, ecr):
    """Return the JSON of the answer, as it stood on the wire."""
    seen = []
    ecr.meta.events.register("before-parse.ecr.*", lambda response_dict, **_: seen.append(response_dict["body"]))
    with suppress(Exception):  # whether botocore likes it is not what is asked
        ecr.get_authorization_token()
    return json.loads(seen[0])


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault(put={"authorizationData": []}), lambda data: data == []),
        (Fault(rewrite=lambda it: {"authorizationData": it["authorizationData"] * 2}), lambda data: len(data) == 2),
        (Fault(drop=("authorizationData.0.expiresAt",)), lambda data: "expiresAt" not in data[0]),
        (Fault(put={"authorizationData.0.expiresAt": math.nan}), lambda data: math.isnan(data[0]["expiresAt"])),
        (Fault(put={"authorizationData.0.expiresAt": 0}), lambda data: data[0]["expiresAt"] == 0),
        (Fault(put={"authorizationData.0.expiresAt": 253402300799}), lambda data: data[0]["expiresAt"] == 253402300799),
        (
            Fault(put={"authorizationData.0.authorizationToken": "@@"}),
            lambda data: data[0]["authorizationToken"] == "@@",
        ),
        (Fault(put={"authorizationData.0.proxyEndpoint": "https://evil.example"}), lambda data: "evil" in str(data)),
    ],
)
def test_the_answer_can_be_made_to_say_anything(aws, ecr, fault, seen):
    with aws.fault(fault):
        assert seen(raw(aws, ecr)["authorizationData"])
    assert base64.b64decode(raw(aws, ecr)["authorizationData"][0]["authorizationToken"]).startswith(b"AWS:")


def test_the_whole_body_and_the_headers_can_be_replaced(aws, token):
    with aws.fault(Fault(service="imds", body="[]", headers={"Date": None, "X-Long": "x" * 1000})):
        answer = token()

    assert answer.body == b"[]"
    assert answer.headers["Date"] is None
    assert len(answer.headers["X-Long"]) == 1000


def test_a_date_can_be_made_wrong(aws, token):
    with aws.fault(Fault(service="imds", headers={"date": "Thu, 01 Jan 1970 00:00:00 GMT"})):
        assert token().headers.get_all("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"]


@pytest.mark.parametrize("state", ["ok", "no_answer"])
def test_leaving_the_stand_in_ends_what_hangs(tmp_path, state):
    before = set(threading.enumerate())
    with StandIn(tmp_path) as aws:
        aws.instance.state = state
        if state == "ok":
            aws.fault(Fault(behaviour="hang"))
        connection = socket.create_connection(("127.0.0.1", urlsplit(aws.url).port))
        connection.sendall(b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n\r\n")
        aws.wait_for_calls(1)
    with connection:
        assert connection.recv(100) == b""
    assert set(threading.enumerate()) <= before
