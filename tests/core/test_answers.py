"""What the clients' side is told: the text of an answers file."""

import json
from datetime import timedelta

import pytest

from ecrlogind.core.answers import answer_text
from ecrlogind.core.credential import Credential, Secret
from ecrlogind.core.wire import Refusal

HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
BEGAN = timedelta(seconds=100)


def credential(ends_at, password="password"):
    return Credential("AWS", Secret(password), BEGAN, ends_at, BEGAN)


def test_a_living_credential_is_its_end_and_the_helpers_json():
    text = answer_text(credential(timedelta(seconds=500)), HOST, None, BEGAN)

    assert text == f'500\n{{"ServerURL":"{HOST}","Username":"AWS","Secret":"password"}}\n'


def test_the_end_is_rounded_down_so_that_no_login_is_given_after_it():
    assert answer_text(credential(timedelta(seconds=500.9)), HOST, None, BEGAN).startswith("500\n")


@pytest.mark.parametrize("password", ['quote"d', "back\\slash", "line\nbreak", "ünï 🔑"])
def test_any_password_is_one_line_of_ascii(password):
    text = answer_text(credential(timedelta(seconds=500), password), HOST, None, BEGAN)

    end, said, rest = text.split("\n")
    assert (end, rest) == ("500", "")
    assert said.isascii()
    assert json.loads(said)["Secret"] == password


def test_without_a_credential_the_reason_is_given_its_code_first():
    reason = Refusal("access_denied", "ci may not", "Allow it.")

    assert answer_text(None, HOST, reason, BEGAN) == "0\naccess_denied: ci may not; Allow it.\n"


def test_a_living_credential_is_given_whatever_the_last_refusal_was():
    reason = Refusal("throttled", "slow down", "Wait.")

    assert answer_text(credential(timedelta(seconds=500)), HOST, reason, BEGAN).startswith("500\n")


def test_before_anything_was_asked_it_is_pending():
    assert answer_text(None, HOST, None, BEGAN).startswith("0\npending: ")


@pytest.mark.parametrize("now", [500, 500.5, 10_000])
def test_an_expired_credential_is_none_and_the_reason_is_why_it_was_not_renewed(now):
    expired = credential(timedelta(seconds=500.9))
    reason = Refusal("no_network", "no route", "Wait.")

    assert answer_text(expired, HOST, None, timedelta(seconds=now)).startswith("0\nexpired: ")
    assert answer_text(expired, HOST, reason, timedelta(seconds=now)) == "0\nno_network: no route; Wait.\n"


@pytest.mark.parametrize("odd", ["two\nlines", "nul \0", "color \x1b[31m", "ünï", "tab\t\r"])
def test_a_reason_is_one_line_of_printable_ascii(odd):
    text = answer_text(None, HOST, Refusal("x", odd, odd), BEGAN)

    assert text.count("\n") == 2
    assert text.replace("\n", "").isprintable()
    assert text.isascii()
