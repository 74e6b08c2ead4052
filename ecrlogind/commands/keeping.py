"""run, login, logout: the commands that are a keeper, or ask the one that runs.

Until an issuer was sent for, nothing is imported that this does not need.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecrlogind.commands.places import (
    EXIT_NOT_ALL,
    EXIT_OK,
    EXIT_TAKEN,
    Failure,
    config_file,
    keeper_state,
)

if TYPE_CHECKING:
    from ecrlogind.core.settings import Settings
    from ecrlogind.keeper.ahead import Ahead
    from ecrlogind.keeper.host import Host


def run(options: argparse.Namespace) -> int:
    """Be the daemon until told to stop."""
    from ecrlogind.keeper.control import Lock, TakenError

    state = keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        raise _taken(state, taken) from None
    ahead = _ahead(state)
    try:
        from ecrlogind.keeper.daemon import Daemon
        from ecrlogind.keeper.host import Host

        return Daemon(Host(config_file(options), state, os.environ, ahead), os.environ).run()
    finally:
        ahead.let_go()
        lock.release()


def login(options: argparse.Namespace) -> int:
    """Run one pass, or have the keeper that runs do so."""
    from ecrlogind.keeper.control import Lock, TakenError

    state = keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        return _login_beside(options, state, taken)
    ahead = _ahead(state)
    try:
        host, settings = _host(options, state, ahead)
        host.start(settings, wake=_nothing)
        document = host.converge(2 * settings.aws.deadline + timedelta(seconds=20))
        host.statusfile.write(document)
        host.end()
    finally:
        ahead.let_go()
        lock.release()
    return _print_outcome(document)


def _login_beside(options: argparse.Namespace, state: Path, taken: Exception) -> int:
    """Ask the keeper that runs for a pass: two that write the same files would only race."""
    from ecrlogind.keeper import control

    host, settings = _host(options, state)
    host.settings = settings
    try:
        document = control.ask(state, {"verb": "pass", "settings": host.settings_digest}, timeout=60)
    except (OSError, ValueError) as error:
        advice = "see `systemctl status ecrlogind` and `journalctl -u ecrlogind`"
        raise Failure(f"the keeper with pid {taken} gives no answer: {error}", advice, EXIT_NOT_ALL) from None
    if document is None:
        raise _taken(state, taken)
    if "error" in document:
        raise Failure(
            f"the keeper with pid {taken} runs with other settings",
            "reload it first (`systemctl reload ecrlogind`), or name another state directory with --state DIR",
            EXIT_NOT_ALL,
        )
    return _print_outcome(document)


def logout(options: argparse.Namespace) -> int:
    """Take our logins out, if no keeper would put them back."""
    from ecrlogind.keeper.control import Lock, TakenError

    state = keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        advice = "stop it first (`systemctl stop ecrlogind`): it would only put the logins back"
        raise Failure(f"a keeper runs, with pid {taken}", advice, EXIT_NOT_ALL) from None
    try:
        host, settings = _host(options, state)
        host.start(settings, wake=_nothing)
        left = host.logout(timedelta(seconds=30))
    finally:
        lock.release()
    for path in left:
        print(f"ecrlogind: {path} still holds logins of ours: see above for the reason", file=sys.stderr)
    return EXIT_NOT_ALL if left else EXIT_OK


def _ahead(state: Path) -> Ahead:
    """Send for an issuer, where nothing is held and so one will be needed; it loads while we do."""
    from ecrlogind.keeper import reach

    return reach.ahead(wanted=not any((state / "credentials").glob("*.credential")))


def _host(options: argparse.Namespace, state: Path, ahead: Ahead | None = None) -> tuple[Host, Settings]:
    from ecrlogind.commands.configured import load
    from ecrlogind.keeper.host import Host

    return Host(config_file(options), state, os.environ, ahead), load(options)


def _nothing() -> None:
    """Wake nobody."""


def _taken(state: Path, taken: Exception) -> Failure:
    return Failure(
        f"another keeper runs in {state}, with pid {taken}",
        "stop it, or name another directory with --state DIR",
        EXIT_TAKEN,
    )


def _print_outcome(document: Mapping[str, Any]) -> int:
    from ecrlogind.commands.reading import print_table

    print_table(document, running=True)
    done = all(login["state"] in ("in_place", "foreign") for login in document["logins"])
    return EXIT_OK if done else EXIT_NOT_ALL
