"""The pages by themselves: where they lead, what they show, and that whoever is to read an example can."""

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from functools import cache

import hcl2
import pytest
import yaml
from jsonschema import Draft4Validator

from ecrlogind.cli import _parser
from tests.guides.reading import ROOT, blocks
from tests.support.world import settings_of

_TREE = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.md"))]
PAGES = [ROOT / path for path in _TREE if path.parts[0] not in ("build", "dist") and not path.parts[0].startswith(".")]
BLOCKS = [(page, block) for page in PAGES for block in blocks(page.read_text())]
DRAWINGS = sorted((ROOT / "docs").glob("*.svg"))
SCHEMA = Draft4Validator(json.loads((ROOT / "docs/config.schema.json").read_text()))
SVG = "{http://www.w3.org/2000/svg}"


def name(page):
    return str(page.relative_to(ROOT))


def shown(*languages):
    found = [(page, block) for page, block in BLOCKS if block.language in languages]
    return [pytest.param(block, id=f"{name(page)}:{block.number}") for page, block in found]


def is_of_runner(block):
    """Whether it is GitLab Runner's own file, which tests/guides holds against a schema."""
    return re.search(r"^concurrent =|^\[\[runners\]\]", block.text, re.MULTILINE)


@cache
def anchors(page):
    """Return what a code host makes of a page's headings."""
    bare = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", bare, re.MULTILINE)
    found = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {each if not found[:at].count(each) else f"{each}-{found[:at].count(each)}" for at, each in enumerate(found)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_local_link_leads_somewhere(page):
    bare = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", bare):
        if not re.match(r"https?:|mailto:", link):
            target, _, anchor = link.partition("#")
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), link
            assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("block", [each for each in shown("toml") if not is_of_runner(each.values[0])])
def test_settings_that_are_shown_are_taken_as_they_stand(block):
    content = tomllib.loads(block.text)

    assert settings_of(**content).registries
    assert list(SCHEMA.iter_errors(content)) == []


def ini(text):
    reader = configparser.RawConfigParser(strict=False, allow_no_value=True)
    reader.read_string(text)
    return reader.sections()


def shell(text):
    return subprocess.run(["bash", "-n"], input=text, text=True, check=True)


PARSERS = {"json": json.loads, "yaml": yaml.safe_load, "hcl": hcl2.loads, "ini": ini, "sh": shell, "bash": shell}


@pytest.mark.parametrize("block", shown(*PARSERS))
def test_what_is_shown_for_other_programs_is_of_their_form(block):
    assert PARSERS[block.language](block.text)


def test_every_command_of_ours_that_is_shown_is_one():
    [commands] = [action.choices for action in _parser()._actions if action.choices]
    for page, block in BLOCKS:
        for command in block.commands if block.language == "console" else ():
            for word in re.findall(r"(?:^|[;&|] *|sudo )ecrlogind ([a-z-]+)", command.line):
                assert word in commands, f"{name(page)}: {command.line}"


def test_every_target_of_make_that_is_named_is_one():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # A make above this one would have it tell of directories.
    own = {"PATH": os.environ["PATH"]}
    told = subprocess.run(["make", "help"], cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    helped = set(re.findall(r"^ *make ([a-z-]+) ", told.stdout, re.MULTILINE))

    for page in PAGES:
        assert set(re.findall(r"(?:`|[$#] )make ([a-z-]+)", page.read_text())) <= targets, page
    assert helped == targets - {"prepare"}


def test_every_module_that_the_architecture_names_is_there():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?)`", text)

    assert len(named) > 15
    for path in named:
        assert (ROOT / "ecrlogind" / path).exists() or (ROOT / path).exists(), path


@pytest.mark.parametrize("path", DRAWINGS, ids=name)
def test_a_drawing_needs_nothing_but_itself(path):
    drawing = ET.fromstring(path.read_text())

    assert drawing.tag == f"{SVG}svg"
    assert drawing.get("viewBox")
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") or drawing.find(f"{SVG}title") is not None
    assert not re.findall(
        r"(?:href|src)=|url\((?!#)|@import|@font-face|<(?:script|image|foreignObject)", path.read_text()
    )


def test_the_drawing_of_the_processes_has_each_colour_twice_by_day_and_by_night():
    text = (ROOT / "docs/processes.svg").read_text()
    [style] = re.findall(r"<style>(.*)</style>", text, re.DOTALL)
    day, _, night = style.partition("@media (prefers-color-scheme: dark)")
    coloured = re.compile(r"(\.?[\w-]+) \{[^}]*(?:fill|stroke): #")

    assert set(coloured.findall(day)) == set(coloured.findall(night))
    assert not re.search(r'(?:fill|stroke)="#', text), "a colour that no scheme can change"


def test_the_hooks_are_local_and_run_what_lint_runs():
    validate = [sys.executable, "-m", "pre_commit", "validate-config", ROOT / ".pre-commit-config.yaml"]
    subprocess.run(validate, check=True)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    lint = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]

    assert [each["repo"] for each in hooks] == ["local"]
    assert [hook["entry"] for hook in hooks[0]["hooks"]] == lint
