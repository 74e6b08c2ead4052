"""Servers that answer almost right, or lie: whatever arrives is a credential or a refusal with a name, in time."""

import json
import socket
import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from ecrlogind.core.credential import Secret
from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Instance, Issued, Probe, Refusal, Refused
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.instance import Metadata
from ecrlogind.issuer.probe import probe
from ecrlogind.issuer.proxies import NONE
from ecrlogind.issuer.refusals import Failed
from ecrlogind.issuer.sockets import LARGEST_BODY, Reply
from ecrlogind.issuer.transport import Transport
from tests.support.bounded import examples
from tests.support.nearly import nearly

TOKEN = "QVdTOmEgcGFzc3dvcmQ="
ANSWER = json.dumps({"authorizationData": [{"authorizationToken": TOKEN, "expiresAt": 1.9e9, "proxyEndpoint": "x"}]})
DOCUMENT = json.dumps({"accountId": "111122223333", "region": "eu-west-1", "instanceId": "i-0123456789abcdef0"})


def http(body, *more, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *more]
    return ("\r\n".join([*lines, "", ""]) + body).encode()


RAW = [
    http(ANSWER, "Date: Wed, 01 Jan 2025 00:00:00 GMT", "Content-Type: application/x-amz-json-1.1"),
    http('{"__type":"AccessDeniedException"}', status="400 Bad Request"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    http("", "Location: http://169.254.169.254/", status="302 Found"),
    http("", 'WWW-Authenticate: Basic realm="https://x/",service="ecr"', status="401 Unauthorized"),
    http(DOCUMENT),
    http("AQAEA-token"),
]
TOKEN_OF_IMDS = http("AQAEA-token", "x-aws-ec2-metadata-token-ttl-seconds: 21600")

fuzzed = examples(30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
CODES = frozenset(Code)


def transport():
    return Transport(Deadline(timedelta(seconds=20)), NONE, None)


def told(ask):
    """Return what *ask* returns, or why it failed."""
    try:
        return ask()
    except Failed as failure:
        return failure.refusal


def is_plain(refusal):
    """Whether it is a refusal with one of the names, and says what and what to do in a printable line each."""
    if not isinstance(refusal, Refusal):
        return False
    texts = (refusal.message, refusal.hint)
    return refusal.code in CODES and all(text and text.isprintable() and len(text) < 1000 for text in texts)


@pytest.fixture(params=[True, False], ids=["session", "no session"])
def keeps_sessions(request):
    return request.param


@pytest.fixture
def speaker(keeps_sessions):
    """Return a server that says to everybody what it is told to say, and how to tell it."""
    server = socket.create_server(("127.0.0.1", 0))
    words = []

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    asked = connection.recv(65536)
                    # A session's token is asked for first; whoever gets none asks for nothing else.
                    connection.sendall(TOKEN_OF_IMDS if asked.startswith(b"PUT") and keeps_sessions else words[-1])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", words.append
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


@given(answer=nearly(RAW))
@example(answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx")
@example(answer=b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx")
@fuzzed
def test_whatever_bytes_a_server_sends_are_a_reply_or_a_refusal(speaker, answer):
    url, say = speaker
    say(answer)

    came = told(lambda: transport().send("GET", f"{url}/", {}))

    assert is_plain(came) or (isinstance(came, Reply) and len(came.body) <= LARGEST_BODY)


@given(answer=nearly(RAW))
@example(answer=http(DOCUMENT))
@fuzzed
def test_whatever_the_metadata_service_sends_is_an_instance_or_a_refusal(speaker, answer):
    url, say = speaker
    say(answer)

    came = told(Metadata(url, Deadline(timedelta(seconds=0.3))).document)

    assert is_plain(came) or isinstance(came, Instance)


@given(answer=nearly(RAW))
@fuzzed
def test_whatever_a_registry_sends_is_a_word_about_the_credential_or_none(speaker, answer):
    url, say = speaker
    say(answer)
    asked = Probe("111122223333.dkr.ecr.eu-west-1.amazonaws.com", "AWS", Secret("canary-password"), images=("base:1",))

    refusal = probe(asked, transport(), url)

    assert refusal is None or is_plain(refusal)
    assert "canary-password" not in str(refusal)


@given(
    bodies=st.lists(
        nearly([ANSWER, '{"__type":"ThrottlingException","message":"slow"}', "null"]), min_size=12, max_size=12
    )
)
@examples(2, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_aws_answers_is_a_credential_or_a_refusal_of_its_own_call_alone(host, bodies):
    faults = [
        {"body": body.decode("latin-1"), "status": (200, 400, 500)[number % 3]} for number, body in enumerate(bodies)
    ]

    for answer in host.ask_beside(faults):
        assert isinstance(answer, Issued | Refused)
        assert isinstance(answer, Issued) or is_plain(answer.refusal)
