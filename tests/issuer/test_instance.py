"""What IMDS does, and what that is called."""

import queue
import socket
import subprocess
import sys
from datetime import timedelta

import pytest

from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.wire import Aws, Call, Instance, Issued, NoInstance
from ecrlogind.issuer.instance import endpoint
from standin import Fault, StandIn
from tests.support.need import need

from .conftest import COMMAND, EU, RUN, Issuer

LONGER = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("no_role", "no_role", "no role is attached"),
        ("disabled", "imds_unreachable", "disabled for this instance (403)"),
        ("throttled", "throttled", "429"),
        ("json_error", "no_role", "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role runner"),
        ("html", "malformed_answer", "not the metadata service"),
    ],
)
def test_each_state_of_the_service_has_its_diagnosis(host, state, code, words):
    host.aws.instance.state = state

    refusal = host.refusal()

    assert refusal.code == code
    assert words in refusal.message
    assert len(host.aws.calls(service="imds")) <= 4
    assert host.aws.calls(service="ecr") == []


def test_a_token_that_never_comes_although_the_connection_stands_is_the_hop_limit(host):
    host.aws.instance.state = "no_answer"

    refusal = host.refusal(deadline=LONGER)

    assert refusal.code == "imds_unreachable"
    assert "hop limit" in refusal.message
    assert "--http-put-response-hop-limit 2" in refusal.hint
    assert {call.method for call in host.aws.calls(service="imds")} == {"PUT"}, "no fallback to IMDSv1"
    assert len(host.aws.calls(service="imds")) <= 3


@pytest.mark.parametrize(
    ("action", "fault", "code", "words"),
    [
        ("token", {"body": "", "status": 500}, "service_error", "500"),
        ("token", {"body": "", "status": 404}, "imds_unreachable", "404"),
        ("token", {"body": "<html>Welcome</html>", "status": 200}, "malformed_answer", "token"),
        ("token", {"behaviour": "huge", "size": 3_000_000}, "malformed_answer", "TooLarge"),
        ("token", {"behaviour": "redirect"}, "imds_unreachable", "302"),
        ("role", {"body": "", "status": 401}, "imds_unreachable", "401"),
        ("role", {"body": "", "status": 200}, "no_role", "no role"),
        ("role", {"body": "<html>", "status": 200}, "malformed_answer", "no role"),
        ("role", {"body": "../../x", "status": 200}, "malformed_answer", "no role"),
        ("credentials", {"body": "", "status": 404}, "no_role", "no longer attached"),
        ("credentials", {"drop": ("Token",)}, "malformed_answer", "incomplete"),
        ("credentials", {"put": {"SecretAccessKey": "a\nb"}}, "malformed_answer", "incomplete"),
        ("credentials", {"body": "[]"}, "malformed_answer", "no JSON object"),
        ("credentials", {"behaviour": "truncate"}, "malformed_answer", "IncompleteRead"),
        ("credentials", {"behaviour": "reset"}, "imds_unreachable", "reset"),
        ("credentials", {"behaviour": "hang"}, "imds_unreachable", "no answer in time"),
    ],
)
def test_an_answer_of_the_service_that_is_none_is_named(host, action, fault, code, words):
    with host.aws.fault(Fault(service="imds", action=action, **fault)):
        refusal = host.refusal(deadline=LONGER)

    assert (refusal.code, words in refusal.message) == (code, True), refusal


@pytest.mark.parametrize(
    "document",
    [
        {"accountId": 111122223333},
        {"accountId": "1"},
        {"region": "self"},
        {"region": None},
        {"region": "atlantis"},
        {"instanceId": "i-0\n1"},
        {"instanceId": ["i-0"]},
    ],
)
def test_an_identity_document_that_makes_no_sense_is_no_instance(host, document):
    with host.aws.fault(Fault(service="imds", action="document", put=document)):
        [answer] = host.ask(instance=True)

    assert isinstance(answer, NoInstance)
    assert answer.refusal.code == "malformed_answer"


def test_without_a_document_there_are_still_the_role_s_keys_for_named_regions(host):
    with host.aws.fault(Fault(service="imds", action="document", body="", status=404)):
        answers = host.ask(EU, Call(Identity(roles=("arn:aws:iam::222233334444:role/ci",)), "eu-west-1"), instance=True)

    assert [type(each) for each in answers] == [NoInstance, Issued, Issued]
    assert host.aws.calls(service="sts")[0].session_name.startswith("ecrlogind-")


def test_a_role_whose_keys_have_ended_by_the_local_clock_signs_all_the_same(host):
    # A metadata service in trouble goes on to give out old keys that AWS goes on to take.
    with host.aws.fault(Fault(service="imds", action="credentials", put={"Expiration": "2020-01-01T00:00:00Z"})):
        host.issued(EU)


def test_a_service_that_comes_up_late_is_waited_for(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with StandIn(tmp_path / "before") as other:
        from .conftest import Host

        question = Host(other).question(
            Call(HOST, "self"), endpoints=dict.fromkeys(("ecr", "sts", "imds"), url), deadline=timedelta(seconds=30)
        )
    issuer = Issuer(question)
    with pytest.raises(queue.Empty):
        issuer.next(timeout=1)

    with StandIn(tmp_path / "aws", http_port=port):
        answers, stderr = issuer.rest()

    assert [type(each) for each in answers] == [Instance, Issued]
    assert stderr == ""


@pytest.mark.parametrize("by", ["the instance", "keys"])
def test_a_network_that_comes_in_the_last_moment_leaves_the_whole_deadline_to_the_answer(host, by):
    place, deadline, left = "127.0.0.78", timedelta(seconds=4), 1.5
    with socket.create_server((place, 0)) as placeholder:
        port = placeholder.getsockname()[1]
    endpoints = dict.fromkeys(("ecr", "sts", "imds"), f"http://{place}:{port}")
    environment = host.keys() if by == "keys" else {}
    issuer = Issuer(host.question(EU, endpoints=endpoints, environment=environment, deadline=deadline))
    with pytest.raises(queue.Empty):
        issuer.next(timeout=deadline.total_seconds() - left)

    with host.aws.fault(Fault(service="ecr", latency=left)):
        host.aws.listen(place, port, tls=False)
        [answer], _ = issuer.rest()

    assert isinstance(answer, Issued)


def test_a_service_that_takes_its_time_is_given_it(host):
    with host.aws.fault(Fault(service="imds", action="token", latency=2.5)):
        host.issued(EU)


def test_a_service_that_loses_the_first_request_is_asked_again(host):
    with host.aws.fault(Fault(service="imds", action="token", behaviour="hang", times=1)):
        host.issued(EU)


def test_nothing_of_boto3_is_needed_to_wait_for_a_network(host, free_port):
    without = [sys.executable, "-I", "-c", "import runpy, sys; sys.modules['botocore'] = None\n" + RUN]
    dead = {"imds": f"http://127.0.0.1:{free_port}", "ecr": f"http://127.0.0.1:{free_port}"}

    for environment in ({}, host.keys()):
        question = host.question(EU, endpoints=dead, environment=environment, deadline=timedelta(seconds=1))
        answers, stderr = Issuer(question, without).rest()
        assert [each.refusal.code for each in answers] == ["no_network" if environment else "imds_unreachable"]
        assert stderr == ""

    assert "ModuleNotFoundError" in Issuer(host.question(EU), without).rest()[1]


def test_a_host_without_any_network_says_so(host):
    unshare = ["unshare", "--map-root-user", "--net"]
    need(subprocess.run([*unshare, "true"], check=False).returncode == 0, "unshare --net (user namespaces)")
    elsewhere = dict.fromkeys(("imds", "ecr"))

    for environment, code in (({}, "no_network"), (host.keys(), "dns")):
        question = host.question(EU, endpoints=elsewhere, environment=environment, deadline=timedelta(seconds=1))
        answers, _ = Issuer(question, [*unshare, *COMMAND]).rest()
        assert [each.refusal.code for each in answers] == [code]


@pytest.mark.parametrize(
    ("aws", "environment", "url"),
    [
        (Aws(), {}, "http://169.254.169.254"),
        (Aws(imds="ipv6"), {}, "http://[fd00:ec2::254]"),
        (Aws(), {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, "http://[fd00:ec2::254]"),
        (Aws(), {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:1338"}, "http://[::1]:1338"),
        (
            Aws(endpoints={"imds": "http://127.0.0.1:1"}),
            {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[::1]:1338"},
            "http://127.0.0.1:1",
        ),
    ],
)
def test_the_settings_say_where_the_service_is_before_the_environment_and_the_well_known_address(aws, environment, url):
    assert endpoint(aws, environment) == url


def test_the_service_is_found_at_an_ipv6_address_too(aws, host):
    url = aws.listen("::1", 0, tls=False)

    host.issued(EU, endpoints={"imds": url})

    assert len(aws.calls(service="imds")) >= 3


def test_one_token_one_role_and_one_document_serve_a_whole_question(host):
    roles = [Call(Identity(roles=(f"arn:aws:iam::222233334444:role/r{n}",)), "eu-west-1") for n in range(5)]

    host.issued(EU, Call(HOST, "self"), *roles, instance=True)

    asked = [call.action for call in host.aws.calls(service="imds")]
    assert sorted(asked) == ["credentials", "document", "role", "token"]
