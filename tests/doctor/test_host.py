"""The doctor on a host that was really put into the state, as the user who asks: it names that cause and no other."""

import json

import pytest

from tests.doctor.conftest import HOST, IMAGE, auth

pytestmark = pytest.mark.system


def test_a_healthy_host_has_no_findings_for_root_and_for_the_user(patient):
    assert patient.codes() == []
    assert patient.codes(as_user=False) == []


def test_an_image_that_can_be_pulled_is_followed_to_its_digest(patient):
    [case] = patient.doctor(IMAGE)["cases"]

    assert case["findings"] == []
    [answer] = case["answers"]
    assert answer["digest"].startswith("sha256:")
    assert "docker" in answer["clients"]
    docker = case["clients"][0]
    assert docker["login"] == f"{patient.file}, key {HOST}"
    assert patient.aws.newest_password("eu-west-1") not in json.dumps(case)
