"""STS, the metadata service and registries that mean harm: bounded in time and size, believed in nothing.

What ECR itself may answer is in test_answers.py.
"""

from datetime import timedelta

import pytest

from ecrlogind.core.identity import HOST, Identity
from ecrlogind.core.wire import Call, Issued, NoInstance, Probe, Refused
from standin import Fault

from .conftest import EU

ROLE = Call(Identity(roles=("arn:aws:iam::222233334444:role/ci",)), "eu-west-1")
NAME = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
TIME = timedelta(seconds=10)
# Small enough to be packed in no time; unpacked, it is far beyond the bound.
BOMB = {"behaviour": "gzip_bomb", "size": 30_000_000}
DRIP = {"behaviour": "drip", "interval": 0.5}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DRIP, "deadline"),
        ({"behaviour": "huge"}, "malformed_answer"),
        (BOMB, "malformed_answer"),
        ({"behaviour": "redirect"}, "malformed_answer"),
        ({"behaviour": "html"}, "malformed_answer"),
        ({"behaviour": "truncate"}, "malformed_answer"),
        ({"body": "<a>" * 30_000}, "malformed_answer"),
        ({"body": '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><x>&b;</x>'}, "malformed_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values()))[:20],
)
def test_a_hostile_sts_costs_its_own_role_alone(host, fault, code):
    with host.aws.fault(Fault(service="sts", **fault)):
        answers = {each.call: each for each in host.ask(ROLE, EU, deadline=TIME)}

    assert isinstance(answers[EU], Issued)
    assert answers[ROLE].refusal.code == code, answers[ROLE].refusal
    assert [call.service for call in host.aws.calls()].count("sts") == 1, "asked once, and no redirect was followed"
    # The one read of the role is the instance's own way to sign; a redirect would make a second.
    assert len([call for call in host.aws.calls(service="imds") if call.action == "credentials"]) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"behaviour": "huge"}, "malformed_answer"),
        (BOMB, "malformed_answer"),
        ({"behaviour": "redirect", "location": "http://127.0.0.1:9/"}, "imds_unreachable"),
        ({"body": '{"region": "../../x", "accountId": "111122223333", "instanceId": "i-0"}'}, "malformed_answer"),
        ({"body": "[" * 100_000}, "malformed_answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values()))[:20],
)
def test_a_hostile_identity_document_is_no_instance_and_hinders_no_registry_that_is_named(host, fault, code):
    with host.aws.fault(Fault(service="imds", action="document", **fault)):
        answers = host.ask(EU, instance=True, deadline=TIME)

    [instance] = [each for each in answers if isinstance(each, NoInstance)]
    assert instance.refusal.code == code, instance.refusal
    assert [each.call for each in answers if isinstance(each, Issued)] == [EU]


def test_an_identity_document_that_drips_is_given_up_in_time(host):
    with host.aws.fault(Fault(service="imds", action="document", **DRIP)):
        [answer] = host.ask(instance=True, deadline=timedelta(seconds=5))

    assert isinstance(answer, NoInstance)
    assert answer.refusal.code == "imds_unreachable"


def test_an_identity_document_that_drips_does_not_hold_up_what_can_do_without(host):
    with host.aws.fault(Fault(service="imds", action="document", **DRIP)):
        answers = host.ask(EU, Call(HOST, "self"), deadline=timedelta(seconds=20))

    assert [each.call for each in answers if isinstance(each, Issued)] == [EU]
    [refused] = [each for each in answers if isinstance(each, Refused)]
    assert (refused.call.region, refused.refusal.code) == ("self", "imds_unreachable")


@pytest.mark.parametrize(
    ("fault", "code"),
    [(DRIP, "deadline"), (BOMB, None), ({"behaviour": "truncate"}, "malformed_answer")],
    ids=["drip", "gzip_bomb", "truncate"],
)
def test_a_hostile_registry_says_nothing_against_the_credential(host, fault, code):
    [issued] = host.issued(EU)
    host.aws.world.add_image("base:1")
    with host.aws.fault(Fault(service="registry", action="manifest", **fault)):
        [answer] = host.ask(probes=(Probe(NAME, "AWS", issued.password, images=("base:1",)),), deadline=TIME)

    # What is packed is not unpacked: it is the status that counts.
    assert (answer.refusal.code if answer.refusal else None) == code


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_no_variable_leads_imds_through_a_proxy(host, everywhere, name):
    environment = {"HTTPS_PROXY": everywhere.proxy.url, name: everywhere.proxy.url}
    parts = everywhere.parts | {"proxy": None}

    host.issued(EU, **parts, environment=environment)

    assert set(everywhere.proxy.asked) == {"api.ecr.eu-west-1.amazonaws.com:443"}
    assert {call.proxied for call in host.aws.calls(service="imds")} == {False}
