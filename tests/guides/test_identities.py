"""The page on identities: what it tells people to write is right, and it leaves no kind out."""

import json
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "identities.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("json"))
def test_its_policies_are_json_of_iam_s_shape(text):
    policy = json.loads(text)

    for statement in policy.get("Statement", [policy]):
        assert statement["Effect"] == "Allow"
        assert statement["Action"]


def test_it_names_each_key_that_makes_an_identity_and_each_that_says_how_aws_is_reached():
    for key in (
        *("role_arn", "external_id", "session_name", "duration", "scope", "profile", "config_file", "credentials_file"),
        *("web_identity_token_file", "credential_process", "credential_source", "source_profile"),
        *("ca_bundle", "proxy", "use_fips", "use_dualstack", "endpoints", "deadline", "imds"),
    ):
        assert re.search(rf"\b{key}\b", PAGE), key
