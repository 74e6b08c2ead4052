"""The schema that editors read: it is made of the settings' own types, and agrees with the program."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft4Validator

from docs import settings as made
from ecrlogind.core import keys
from ecrlogind.core.render import to_toml
from tests.core.test_render import contents, usable
from tests.core.test_settings import BAD, EVERYTHING

REPO = Path(__file__).parents[1]
SCHEMA = json.loads(made.SCHEMA.read_text())
VALIDATOR = Draft4Validator(SCHEMA)

# What a schema cannot know, or not say: by the message that `check` has for it.
BEYOND = {
    "is out of range",
    "is longer than a year",
    "leaves no time",
    "longer than AWS lets a chained role live",
    "is not encrypted",
    "is not the URL of a server",  # a port beyond all ports
    "does not have",
    "is none of the registries",
    "has a name",
    "is there twice",
    "is the name of",
    "contains a control character",  # one beyond ASCII, which only hides
    "must be a fraction",  # NaN, which JSON does not have
}
EXAMPLES = [
    *(path for path in REPO.glob("examples/**/*.toml") if re.match(r"ecrlogind|smallest", path.name)),
    *REPO.glob("packer/rootfs/etc/ecrlogind/**/*.toml"),
]


def faults(content):
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(content)]


def test_it_is_made_of_what_the_program_has_now():
    assert made.SCHEMA.read_text() == made.text(), "make pages"


def test_it_is_a_schema_that_toml_s_editors_read():
    Draft4Validator.check_schema(SCHEMA)


def test_every_setting_has_a_text_and_every_text_a_setting():
    texts = made.TEXTS
    single = {section: set(texts["keys"].get(section, ())) for section in keys.SECTIONS if section}
    single[""] = {key for key, value in texts["keys"].items() if isinstance(value, str)}

    assert single == {section: set(converts) for section, converts in keys.SECTIONS.items()}
    assert {name: set(texts[name]) for name in keys.LISTS} == {name: set(each) for name, each in keys.LISTS.items()}
    assert set(texts["lists"]) == set(keys.LISTS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(REPO)))
def test_it_has_nothing_against_an_example(path):
    assert faults(tomllib.loads(path.read_text())) == []


def test_it_has_nothing_against_all_that_there_is():
    assert faults(tomllib.loads(EVERYTHING)) == []


@given(contents)
def test_it_takes_whatever_the_program_takes_and_prints(content):
    if (settings := usable(content)) is not None:
        assert faults(content) == []
        assert faults(tomllib.loads(to_toml(settings))) == []


def beyond(message):
    return {each for each in BEYOND if each in message}


@pytest.mark.parametrize("row", BAD, ids=[f"{row[1]}-{row[2][:25]}" for row in BAD])
def test_what_check_refuses_for_its_form_it_refuses_too(row):
    text, _, message, _ = row

    assert faults(tomllib.loads(text)) or beyond(message)


def test_nothing_is_called_beyond_it_that_it_refuses():
    taken = [beyond(message) for text, _, message, _ in BAD if not faults(tomllib.loads(text))]

    assert set().union(*taken) == BEYOND


def test_the_defaults_that_it_shows_are_those_in_effect():
    boot = SCHEMA["properties"]["boot"]["properties"]

    assert (boot["ready"]["default"], boot["timeout"]["default"]) == ("settled", "1min")
    assert SCHEMA["properties"]["stop"]["properties"]["logout"]["default"] is False
