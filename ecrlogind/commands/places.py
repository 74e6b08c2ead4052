"""Where a command finds things, and how it fails. Light: every command passes through here."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

EXIT_OK = 0
EXIT_NOT_ALL = 1
EXIT_NOT_RUNNING = 3
EXIT_TAKEN = 75
EXIT_SETTINGS = 78

SYSTEM_STATE = Path("/run/ecrlogind")


class Failure(Exception):  # noqa: N818 - it carries an exit status, and is caught in `main` alone
    """The command cannot go on: one line of what, one of what to do, and the exit status."""

    def __init__(self, what: str, advice: str, status: int) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.status = status


def _own_state() -> Path:
    if os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return Path(base) / "ecrlogind"


def keeper_state(options: argparse.Namespace) -> Path:
    """Return the state directory of a keeper that we are, made if need be."""
    state = options.state or _from_environment("ECRLOGIND_STATE") or _own_state()
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(
            f"{state}: {error.strerror}", "name another state directory with --state DIR", EXIT_SETTINGS
        ) from None
    return Path(state).absolute()


def reader_state(options: argparse.Namespace) -> Path:
    """Return the state directory that a reader looks at: the system's if a keeper is or was there, else our own."""
    given = options.state or _from_environment("ECRLOGIND_STATE")
    if given:
        return Path(given)
    try:
        is_there = (SYSTEM_STATE / "status.json").exists()
    except PermissionError:  # somebody closed it, so there is one; whoever reads it says what is wrong
        is_there = True
    return SYSTEM_STATE if is_there else _own_state()


def config_file(options: argparse.Namespace) -> Path | None:
    """Return the settings' file that was named, absolute; None for the usual place."""
    given = options.config or _from_environment("ECRLOGIND_CONFIG")
    return Path(given).absolute() if given else None


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None
