import ast
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from ecrlogind.core.document import Trouble
from ecrlogind.core.events import message_id
from ecrlogind.core.refusal import Code

REPO = Path(__file__).parents[1]
SOURCE = tomllib.loads((REPO / "docs" / "codes.toml").read_text())
MADE = runpy.run_path(str(REPO / "docs" / "codes.py"))
EVENT = re.compile(r"[a-z]+\.[a-z]+")
REFUSE = {"Refusal", "ChildError", "_refused"}
# Said to clients or between parts of ours, never to the journal.
NOT_TOLD = {"pending", "expired", "unreachable"}


def words(*, of=None):
    """Yield the string constants of the code: all of them, or those that are the first argument of calls to *of*."""
    for path in (REPO / "ecrlogind").rglob("*.py"):
        if path.parent.name in ("doctor", "commands") or path.name == "cli.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if of is None and isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if of is not None and name in of:
                    yield path, node.args[0].value


def family(name):
    return set(SOURCE["codes"][name])


def test_every_event_that_is_told_is_explained_and_no_other():
    told = {word for _, word in words(of={"Event"}) if EVENT.fullmatch(word)}
    told |= {word for path, word in words() if path.name == "events.py" and EVENT.fullmatch(word)}

    assert told == set(SOURCE["events"])


def test_every_reason_why_aws_gives_nothing_is_explained():
    assert family("issuing") == set(Code)


def test_every_reason_that_a_delivery_can_have_is_explained():
    # One is said by the courier of a file system, and by the keeper of a courier.
    literal = {word for path, word in words(of=REFUSE) if path.name in ("child.py", "couriers.py")}

    of_files = family("delivering") | family("by_docker") | family("noting") | family("shadowing")
    assert of_files == (set(Trouble) | literal) - NOT_TOLD


def test_every_other_code_is_explained():
    explained = set().union(*(codes for codes in SOURCE["codes"].values()))

    said = {word for _, word in words(of=REFUSE)} - NOT_TOLD
    assert said - explained == set()


def test_each_pair_of_event_and_code_has_a_text_and_an_id_of_its_own():
    pairs = [(name, code) for name, code, _, _ in MADE["explained"]()]
    texts = [text for codes in SOURCE["codes"].values() for text in codes.values()]

    assert len({message_id(*pair) for pair in pairs}) == len(set(pairs)) == len(pairs)
    assert len({text["means"] for text in texts}) == len(texts)
    assert all(set(text) == {"means", "look", "do"} and all(text.values()) for text in texts)


@pytest.mark.parametrize(("make", "place"), [("catalog", "CATALOG"), ("page", "PAGE")])
def test_what_is_made_of_the_texts_is_up_to_date(make, place):
    assert MADE[place].read_text() == MADE[make](), "make pages"


def test_the_ids_are_what_they_were():
    # Filters and alerts on other people's hosts name them.
    assert message_id("credential.refused", "access_denied") == "53be7061e46d5c55b6f4a7bec3794e44"
    assert message_id("login.delivered") == "9ae73c732b8650fe817f7596c947e817"
