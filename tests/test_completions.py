"""What the shells complete: asked of the shells themselves, held against the parser."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ecrlogind.cli import _parser
from tests.support.need import need

COMPLETIONS = Path(__file__).parents[1] / "completions"
SUPPORT = Path(__file__).parent / "support"
HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
[COMMANDS] = [action.choices for action in _parser()._actions if action.choices]

BASH = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { :; }
_ecrlogind
printf '%s\\n' "${COMPREPLY[@]}"
"""
# zsh completes on a terminal only, so it gets one.
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "source $1"
zpty -r -m shell out '*READY*'
zpty -n -w shell "$2"$'\\t'
while zpty -r shell out && [[ $out != *'<<END>>'* ]]; do print -rn -- "$out"; done
"""


def bash(line, environment):
    command = ["bash", "--norc", "-c", BASH, "bash", COMPLETIONS / "ecrlogind.bash", *line.split(" ")]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.split()


def fish(line, environment):
    script = (
        f"source {COMPLETIONS / 'ecrlogind.fish'}; complete --do-complete (string escape -- $argv[1] | string unescape)"
    )
    command = ["fish", "--no-config", "--command", script, "--", line]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]


def zsh(line, environment):
    command = ["zsh", "-f", "-c", ZSH, "zsh", SUPPORT / "completing.zsh", line]
    told = {**environment, "COMPLETIONS": str(COMPLETIONS)}
    done = subprocess.run(command, capture_output=True, text=True, env=told, check=True, timeout=100)
    found = [each.partition(">>")[0] for each in done.stdout.replace("\r", "").split("<<")[1:]]
    return [each.partition(":")[0] for each in found if each]


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}


@pytest.fixture(params=SHELLS)
def complete(request, tmp_path):
    """Return what completes a line, in one of the shells, on a host whose keeper knows one registry."""
    need(shutil.which(request.param), request.param)
    program = tmp_path / "bin/ecrlogind"
    program.parent.mkdir()
    document = json.dumps({"registries": [{"name": "self", "host": HOST}, {"name": "x", "host": None}]}, indent=2)
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'status --json' ] && cat <<'EOF'\n{document}\nEOF\n")
    program.chmod(0o755)
    environment = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    return lambda line: SHELLS[request.param](line, environment)


def options_of(parser):
    return {
        action.option_strings[-1]
        for action in parser._actions
        if action.option_strings and not isinstance(action, argparse._HelpAction)
    } | {"--help"}


def test_the_commands_are_the_parser_s(complete):
    assert {each for each in complete("ecrlogind ") if not each.startswith("-")} == set(COMMANDS)
    assert complete("ecrlogind stat") == ["status"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_the_parser_s(complete, name):
    assert set(complete(f"ecrlogind {name} --")) == options_of(COMMANDS[name])


def test_the_hosts_are_those_that_the_keeper_knows(complete):
    assert complete("ecrlogind wait 1") == [HOST]
    assert complete("ecrlogind doctor 1") == [f"{HOST}/"]


def test_what_comes_after_an_option_is_of_its_kind(complete, tmp_path):
    (tmp_path / "settings").mkdir()

    assert "root" in complete("ecrlogind doctor --user roo")
    assert "2min" in complete("ecrlogind wait --timeout 2")
    found = complete(f"ecrlogind check --state {tmp_path}/sett")
    assert {each.rstrip("/").rpartition("/")[2] for each in found} == {"settings"}
