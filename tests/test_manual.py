"""The manual: complete by what the program has, and clean by the tools that set it."""

import argparse
import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs import manual, settings
from ecrlogind.cli import _parser
from ecrlogind.commands import doctoring, places
from ecrlogind.core import keys
from ecrlogind.core.document import Trouble
from ecrlogind.core.refusal import Code
from ecrlogind.keeper import couriers, reach, settingsfile
from tests.support.need import need

REPO = Path(__file__).parents[1]
PAGES = sorted(manual.PAGES.iterdir())
DAEMON, SETTINGS, STATUS, HELPER = (
    (manual.PAGES / name).read_text()
    for name in ("ecrlogind.8", "ecrlogind.toml.5", "ecrlogind-status.5", "docker-credential-ecrlogind.1")
)
[COMMANDS] = [action.choices for action in _parser()._actions if action.choices]


def section(page, title):
    """Return the lines of a section, less its own."""
    found = re.search(rf"^\.S[hs] {re.escape(title)}(?:\\&)?\n(.*?)(?=^\.S[hs] |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def items(text, macro):
    """Return what a list names by *macro*: the first word of each, and more after commas."""
    heads = re.findall(rf"^\.It {macro} (.*)$", text, re.MULTILINE)
    return [re.sub(r"\\&", "", word).split()[0] for head in heads for word in head.split(" , ")]


def test_what_is_made_in_the_pages_is_up_to_date():
    for page in PAGES:
        assert page.read_text() == manual.renewed(page.read_text()), "make pages"


def test_each_name_has_a_page_and_a_page_of_its_own_section():
    names = {path.name for path in PAGES}
    programs = {"ecrlogind": "8"} | dict.fromkeys((path.name for path in (REPO / "bin").iterdir()), "1")

    assert names == {*(f"{name}.{of}" for name, of in programs.items()), "ecrlogind.toml.5", "ecrlogind-status.5"}
    for path in PAGES:
        title = re.search(r"^\.Dt (\S+) (\d)$", path.read_text(), re.MULTILINE)
        assert path.resolve().name == f"{title[1].lower()}.{title[2]}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_mandoc_has_nothing_against_a_page(path):
    need(shutil.which("mandoc"), "mandoc")

    done = subprocess.run(["mandoc", "-Tlint", "-Wstyle", path], capture_output=True, text=True, check=False)

    # Which other pages there are depends on the machine.
    said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert [line for line in said if "mandoc.db" not in line] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_groff_sets_a_page_without_a_word(path):
    need(shutil.which("man"), "man")
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}

    done = subprocess.run(
        ["man", "--warnings=all", "--local-file", path], capture_output=True, text=True, env=environment, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout


def test_every_page_that_a_page_refers_to_is_ours_or_the_system_s():
    ours = {path.name for path in PAGES}
    named = {
        f"{name}.{of}" for page in PAGES for name, of in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.MULTILINE)
    }

    assert named - ours == {"docker.1", "journalctl.1", "make.1", "systemctl.1"}


# --- the command line


def options_of(parser):
    """Return the long options of a parser, and its positional arguments."""
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    return {action.option_strings[-1] if action.option_strings else action.metavar for action in actions}


def test_the_synopsis_is_the_parser_s():
    synopsis = section(DAEMON, "SYNOPSIS").split(".Nm\n")[1:]
    told = {}
    for usage in synopsis:
        if command := re.match(r"\.Cm (\S+)\n", usage):
            flags = {f"-{name}" for name in re.findall(r"(?:Fl|\|) (-[a-z-]+)", usage)}
            told[command[1]] = flags | set(re.findall(r"^\.(?:Op )?Ar (\S+)", usage, re.MULTILINE))

    assert told == {name: options_of(parser) for name, parser in COMMANDS.items()}


def test_each_command_and_each_option_is_explained():
    every = {name for parser in COMMANDS.values() for name in options_of(parser) if name.startswith("--")}

    assert set(items(section(DAEMON, "COMMANDS"), "Cm")) == set(COMMANDS)
    assert set(items(section(DAEMON, "OPTIONS"), "Fl")) - {"h"} == {each[1:] for each in every} | {"-version", "-help"}


def test_each_exit_status_is_explained():
    codes = {value for name, value in vars(places).items() if name.startswith("EXIT_")}
    literal = {
        node.value.value
        for node in ast.walk(ast.parse((REPO / "ecrlogind/cli.py").read_text()))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
    }
    told = re.findall(r"^\.It (\d+)$", section(DAEMON, "EXIT STATUS"), re.MULTILINE)

    assert set(map(int, told)) == codes | literal | {doctoring.EXIT_USAGE}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_the_parser_takes(name):
    example = COMMANDS[name].epilog.removeprefix("e.g. ").removeprefix("sudo ")
    program, *words = example.split()

    assert program == "ecrlogind"
    assert _parser().parse_args(words).command == COMMANDS[name].get_default("command")


def test_the_helper_s_actions_are_explained():
    script = (REPO / "bin/docker-credential-ecrlogind").read_text()
    actions = re.search(r"^ +(get \| .*)\) \"\$action\"_login", script, re.MULTILINE)[1].split(" | ")

    assert sorted(items(section(HELPER, "DESCRIPTION"), "Cm")) == sorted([*actions, "version"])
    assert set(re.findall(r"\$\{(ECRLOGIND_\w+|XDG_\w+)", script)) <= set(re.findall(r"Ev (\w+)", HELPER))


# --- what the outside sees


def test_each_variable_of_ours_is_explained():
    ours = re.compile(r'"((?:ECRLOGIND_(?!REGISTRY|DESTINATION|CODE|HINT|EVENT)[A-Z]+|NO_COLOR|XDG_RUNTIME_DIR))"')
    read = {name for path in (REPO / "ecrlogind").rglob("*.py") for name in ours.findall(path.read_text())}

    assert read == {"ECRLOGIND_CONFIG", "ECRLOGIND_STATE", "NO_COLOR", "XDG_RUNTIME_DIR"}
    assert read <= set(items(section(DAEMON, "ENVIRONMENT"), "Ev"))


def test_each_field_of_the_journal_is_explained():
    source = (REPO / "ecrlogind/keeper/journal.py").read_text()
    fields = set(re.findall(r'"((?:ECRLOGIND_[A-Z]+|MESSAGE_ID))"', source))

    assert fields
    assert fields == set(items(section(DAEMON, "JOURNAL"), "Va"))


def test_each_unit_and_drop_in_is_named():
    files = {path.name for path in (REPO / "systemd").iterdir()} - {"ecrlogind.catalog", "ecrlogind.conf"}

    assert set(re.findall(r"[\w@.-]+\.(?:service|socket|conf)", section(DAEMON, "UNITS"))) >= files


def test_each_place_is_named(keeper):
    keeper.write_settings(["111122223333.dkr.ecr.eu-west-1.amazonaws.com"])
    with keeper.running():
        keeper.wait_for(states={"111122223333.dkr.ecr.eu-west-1.amazonaws.com": "in_place"})
        made = {path.name for path in keeper.state.iterdir() if not path.name.startswith(".")}
    files = section(DAEMON, "FILES")

    assert {"status.json", "credentials", "answers"} <= made
    for place in [
        *(places.SYSTEM_STATE / name for name in made),
        *(reach.ISSUER_SOCKET, couriers.DOCKER_LOGIN_SOCKETS, settingsfile.DEFAULT),
    ]:
        assert re.search(rf"^\.It Pa {re.escape(str(place))}\b", files, re.MULTILINE), place


# --- settings, status, codes


def test_each_setting_is_explained_where_it_belongs():
    sections = {
        **{name: section(SETTINGS, f"[{name}]") for name in keys.SECTIONS if name},
        "": section(SETTINGS, "KEYS AT THE TOP"),
        "registries": section(SETTINGS, "A REGISTRY"),
        "destinations": section(SETTINGS, "A DESTINATION"),
    }
    program = {name: set(converts) for name, converts in {**keys.SECTIONS, **keys.LISTS}.items()}
    program[""] |= set(keys.LISTS)

    assert {name: set(items(text, "Cm")) for name, text in sections.items()} == program


def test_the_defaults_that_it_tells_are_those_in_effect():
    heads = re.split(r"^\.It Cm ", section(SETTINGS, "[boot]"), flags=re.MULTILINE)[1:]
    told = {head.split()[0]: re.search(r"Default: \\\(oq(.*?)\\\(cq", head)[1] for head in heads}

    assert told == {key: str(settings.default("boot", key)) for key in keys.SECTIONS["boot"]}


def test_each_field_of_the_document_is_explained(keeper):
    keeper.write_settings(["111122223333.dkr.ecr.eu-west-1.amazonaws.com"])
    with keeper.running():
        keeper.wait_for(states={"111122223333.dkr.ecr.eu-west-1.amazonaws.com": "in_place"})
        document = json.loads(keeper.run("status", "--json").stdout)

    assert items(section(STATUS, "THE DOCUMENT"), "Va") == list(document)
    assert items(section(STATUS, "Of each of registries"), "Va") == list(document["registries"][0])
    assert items(section(STATUS, "Of each of logins"), "Va") == list(document["logins"][0])
    assert items(section(STATUS, "Of an error"), "Va") == ["code", "message", "hint"]


def test_each_code_is_explained():
    told = items(STATUS, "Er")

    assert {*Code, *Trouble} - {"pending", "expired", "unreachable"} <= set(told)
