"""The pages: every code that the doctor can say is explained, every text that people search for has its place."""

import ast
import re
from pathlib import Path

import pytest

from ecrlogind.cli import _parser
from ecrlogind.core.document import Trouble
from ecrlogind.core.refusal import Code

ROOT = Path(__file__).parents[2]
DOCTOR = (ROOT / "docs/doctor.md").read_text()
ERRORS = (ROOT / "docs/errors.md").read_text()


def said():
    """Return every code that stands in a check."""
    for path in (ROOT / "ecrlogind/doctor/checks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                code = node.args[0]
                found = code.values if isinstance(code, ast.JoinedStr) else ast.walk(code)
                for each in found:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value != "code":
                        yield each.value


def test_the_page_of_the_doctor_has_every_code_and_no_other():
    explained = set(re.findall(r"^\| `([a-z_*]+)` \|", DOCTOR, re.MULTILINE))

    assert explained == {f"{code}*" if code.endswith("_") else code for code in said()}


def test_a_code_that_others_have_too_means_the_same():
    shared = set(said()) & {str(code) for code in (*Code, *Trouble)}

    assert shared == {"pull_denied", "permission_denied", "wrong_owner", "bad_entry", "shadowed_by_auth_json"}


@pytest.mark.parametrize(
    "text",
    [
        "no basic auth credentials",
        "pull access denied",
        "access forbidden",
        "403 Forbidden",
        "authorization token has expired",
        "manifest unknown",
        "error getting credentials",
        "toomanyrequests",
        "Unable to locate credentials",
        "x509: certificate signed by unknown authority",
    ],
)
def test_what_people_paste_into_a_search_box_is_a_heading(text):
    headings = [line for line in ERRORS.splitlines() if line.startswith("## ")]

    assert any(text in heading for heading in headings)


def test_the_commands_that_the_pages_name_are_there():
    [commands] = [action.choices for action in _parser()._actions if action.choices]

    for page in (DOCTOR, ERRORS):
        named = set(re.findall(r"(?:`|\$ (?:sudo )?)ecrlogind ([a-z-]+)", page))
        assert named
        assert named <= set(commands)
