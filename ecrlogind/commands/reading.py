"""status, wait, export: the commands that read what a keeper left. They start fast, and work without one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ecrlogind.commands.places import EXIT_NOT_ALL, EXIT_NOT_RUNNING, EXIT_OK, Failure, reader_state
from ecrlogind.commands.published import read

TYPE_CHECKING = False  # typing is slow to load, and `status` needs nothing of it
if TYPE_CHECKING:
    from typing import Any

_POLL = 0.05
_WATCH = 1.0


def status(options: argparse.Namespace) -> int:
    """Print the table or the document; the exit status is the verdict."""
    state = reader_state(options)
    while True:
        document, running, _ = read(state)
        if options.watch:
            print("\x1b[H\x1b[2J", end="") if sys.stdout.isatty() else None
        if document is None:
            what = f"not running: there is no status in {state}"
            if not options.watch:
                advice = "start it with `systemctl start ecrlogind`, and see `journalctl -u ecrlogind`"
                raise Failure(what, advice, EXIT_NOT_RUNNING)
            print(f"ecrlogind: {what}")
        elif options.json:
            print(json.dumps(document, indent=2))
        else:
            print_table(document, running=running)
        if not options.watch:
            break
        sys.stdout.flush()
        time.sleep(_WATCH)
    if not running:
        return EXIT_NOT_RUNNING
    return EXIT_OK if document and document["verdict"] == "healthy" else EXIT_NOT_ALL


def print_table(document: Mapping[str, Any], *, running: bool) -> None:
    """Print *document* as a table, in colour on a terminal."""
    from ecrlogind.commands.terminal import paint
    from ecrlogind.core.table import table

    print(table(document, datetime.now().astimezone(), paint(), running=running), end="")


def wait(options: argparse.Namespace) -> int:
    """Return once the logins are in place."""
    until = time.monotonic() + options.timeout.total_seconds()
    while True:
        document, running, _ = read(reader_state(options))
        if document is not None and running and _is_awaited(document, options.hosts):
            return EXIT_OK
        if time.monotonic() >= until:
            break
        time.sleep(_POLL)
    from ecrlogind.core.duration import format_duration

    waited = format_duration(options.timeout)
    if document is None or not running:
        advice = "start it with `systemctl start ecrlogind`, and see `journalctl -u ecrlogind`"
        raise Failure(f"not running after {waited}", advice, EXIT_NOT_RUNNING)
    print_table(document, running=True)
    known = {login["host"] for login in document["logins"]}
    if strange := [host for host in options.hosts if host not in known]:
        advice = "write hosts as `ecrlogind status` does, or add them to the settings"
        raise Failure(f"not in time: after {waited} nothing logs in to {', '.join(strange)}", advice, EXIT_NOT_ALL)
    raise Failure(f"not in time: {waited} have passed", "see the reasons above", EXIT_NOT_ALL)


def _is_awaited(document: Mapping[str, Any], hosts: Sequence[str]) -> bool:
    """Whether the wait is over: the daemon is ready, or every login of *hosts* is in place or foreign."""
    if not hosts:
        return bool(document["ready"])
    states = {host: [] for host in hosts}  # type: dict[str, list[str]]
    for login in document["logins"]:
        if login["host"] in states:
            states[login["host"]].append(login["state"])
    return all(each and set(each) <= {"in_place", "foreign"} for each in states.values())


def export(options: argparse.Namespace) -> int:
    """Become the script that does it: it stands beside this program, and starts faster than Python does."""
    script = Path(sys.prefix) / "bin" / "ecrlogind-export"
    state = ["--state", str(options.state)] if options.state else []
    try:
        os.execv(script, [str(script), *state, "--", options.directory])  # noqa: S606 - no shell is wanted
    except OSError as error:
        advice = "install the wheel again: the script comes with it"
        raise Failure(f"{script}: {error.strerror}", advice, EXIT_NOT_ALL) from None
