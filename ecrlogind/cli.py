"""The command line. It imports lazily: `status` and `wait` must be instant, whatever else is broken."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecrlogind import __version__

if TYPE_CHECKING:
    from ecrlogind.core.settings import Problem

EXIT_OK = 0
EXIT_NOT_ALL = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
EXIT_TAKEN = 75
EXIT_SETTINGS = 78

SYSTEM_STATE = Path("/run/ecrlogind")
SYSTEM_CONFIG = Path("/etc/ecrlogind/config.toml")

_POLL = 0.05
_WATCH = 1.0


class _Failure(Exception):  # noqa: N818 - it carries an exit status, and is caught in `main` alone
    """The command cannot go on: one line of what, one of what to do, and the exit status."""

    def __init__(self, what: str, advice: str, status: int) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except _Failure as failure:
        print(f"ecrlogind: {failure.what}\n  {failure.advice}", file=sys.stderr)
        return failure.status
    except BrokenPipeError:  # whoever read us has seen enough
        sys.stdout = None  # or the interpreter would flush into the pipe once more
        return EXIT_OK
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ecrlogind", description="Keeps a host logged in to its AWS ECR registries.")
    parser.add_argument("--version", action="version", version=f"ecrlogind {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name, help=text, description=f"{text[:1].upper()}{text[1:]}.", epilog=f"e.g. {example}"
        )
        one.set_defaults(command=run)
        state = "the state directory (default: $ECRLOGIND_STATE, else /run/ecrlogind, else $XDG_RUNTIME_DIR/ecrlogind)"
        one.add_argument("--state", metavar="DIR", type=Path, help=state)
        return one

    def with_config(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
        config = f"the settings (default: $ECRLOGIND_CONFIG, else {SYSTEM_CONFIG})"
        one.add_argument("--config", metavar="FILE", type=Path, help=config)
        return one

    with_config(command("run", _run, "run the daemon in the foreground", "ecrlogind run"))
    with_config(command("login", _login, "run one pass, then exit", "sudo ecrlogind login"))
    with_config(command("logout", _logout, "take our logins out again", "sudo ecrlogind logout"))
    wait = command("wait", _wait, "wait until the logins are in place", "ecrlogind wait --timeout 2min")
    wait.add_argument("--timeout", metavar="SPAN", type=_span, default=timedelta(minutes=2), help="default: 2min")
    wait.add_argument("hosts", metavar="HOST", nargs="*", help="only for these registries")
    status = command("status", _status, "say how the logins stand", "ecrlogind status --watch")
    status.add_argument("--json", action="store_true", help="print the status document")
    status.add_argument("--watch", action="store_true", help="refresh in place until interrupted")
    check = with_config(command("check", _check, "say what is wrong with the settings", "ecrlogind check --print"))
    check.add_argument("--print", action="store_true", help="print the settings in effect")
    return parser


def _span(text: str) -> timedelta:
    from ecrlogind.core.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# --- where things are


def _own_state() -> Path:
    if os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return Path(base) / "ecrlogind"


def _keeper_state(options: argparse.Namespace) -> Path:
    """Return the state directory of a keeper that we are, made if need be."""
    state = options.state or _from_environment("ECRLOGIND_STATE") or _own_state()
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise _Failure(
            f"{state}: {error.strerror}", "name another state directory with --state DIR", EXIT_SETTINGS
        ) from None
    return Path(state).absolute()


def _reader_state(options: argparse.Namespace) -> Path:
    """Return the state directory that a reader looks at: the system's if a keeper is or was there, else our own."""
    given = options.state or _from_environment("ECRLOGIND_STATE")
    if given:
        return Path(given)
    return SYSTEM_STATE if (SYSTEM_STATE / "status.json").exists() else _own_state()


def _config(options: argparse.Namespace) -> Path | None:
    """Return the settings' file that was named, absolute; None for the usual place."""
    given = options.config or _from_environment("ECRLOGIND_CONFIG")
    return Path(given).absolute() if given else None


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


# --- keepers: run, login, logout


def _run(options: argparse.Namespace) -> int:
    from ecrlogind.keeper.control import Lock, TakenError
    from ecrlogind.keeper.daemon import Daemon
    from ecrlogind.keeper.host import Host

    state = _keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        raise _taken(state, taken) from None
    try:
        return Daemon(Host(_config(options), state, os.environ), os.environ).run()
    finally:
        lock.release()


def _login(options: argparse.Namespace) -> int:
    from ecrlogind.keeper.control import Lock, TakenError

    state = _keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        return _login_beside(options, state, taken)
    try:
        host, settings = _host(options, state)
        host.start(settings, wake=_nothing, watch=_close)
        document = host.converge(settings.aws.deadline + timedelta(seconds=20))
        host.statusfile.write(document)
        host.end()
    finally:
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
        raise _Failure(f"the keeper with pid {taken} gives no answer: {error}", advice, EXIT_NOT_ALL) from None
    if document is None:
        raise _taken(state, taken)
    if "error" in document:
        raise _Failure(
            f"the keeper with pid {taken} runs with other settings",
            "reload it first (`systemctl reload ecrlogind`), or name another state directory with --state DIR",
            EXIT_NOT_ALL,
        )
    return _print_outcome(document)


def _logout(options: argparse.Namespace) -> int:
    from ecrlogind.keeper.control import Lock, TakenError

    state = _keeper_state(options)
    try:
        lock = Lock(state)
    except TakenError as taken:
        advice = "stop it first (`systemctl stop ecrlogind`): it would only put the logins back"
        raise _Failure(f"a keeper runs, with pid {taken}", advice, EXIT_NOT_ALL) from None
    try:
        host, settings = _host(options, state)
        host.start(settings, wake=_nothing, watch=_close)
        left = host.logout(timedelta(seconds=30))
    finally:
        lock.release()
    for path in left:
        print(f"ecrlogind: {path} still holds logins of ours: see above for the reason", file=sys.stderr)
    return EXIT_NOT_ALL if left else EXIT_OK


def _host(options: argparse.Namespace, state: Path) -> tuple[Any, Any]:
    from ecrlogind.core.settings import SettingsError
    from ecrlogind.keeper.host import Host

    host = Host(_config(options), state, os.environ)
    try:
        return host, host.load()
    except SettingsError as error:
        _print_problems(error.problems)
        raise _bad_settings(len(error.problems)) from None


def _nothing() -> None:
    """Wake nobody."""


def _close(_path: str, descriptor: int) -> None:
    """Watch nothing: nobody stays."""
    os.close(descriptor)


def _taken(state: Path, taken: Exception) -> _Failure:
    return _Failure(
        f"another keeper runs in {state}, with pid {taken}",
        "stop it, or name another directory with --state DIR",
        EXIT_TAKEN,
    )


def _bad_settings(count: int) -> _Failure:
    what = "a problem" if count == 1 else f"{count} problems"
    return _Failure(
        f"the settings have {what}", "mend what is named above; `ecrlogind check` says it again", EXIT_SETTINGS
    )


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(problem, file=sys.stderr)


def _print_outcome(document: Mapping[str, Any]) -> int:
    _print_table(document, running=True)
    done = all(login["state"] in ("in_place", "foreign") for login in document["logins"])
    return EXIT_OK if done else EXIT_NOT_ALL


# --- readers: status, wait, check


def _read(state: Path) -> dict[str, Any] | None:
    """Return the status document, None if there is none (yet) or it is none of ours."""
    try:
        document = json.loads((state / "status.json").read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and document.get("version") == 1 else None


def _is_running(document: Mapping[str, Any]) -> bool:
    """Whether the keeper that wrote *document* lives: its pid does."""
    try:
        os.kill(document["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _status(options: argparse.Namespace) -> int:
    state = _reader_state(options)
    while True:
        document = _read(state)
        running = document is not None and _is_running(document)
        if options.watch:
            print("\x1b[H\x1b[2J", end="") if sys.stdout.isatty() else None
        if document is None:
            if not options.watch:
                advice = "start it with `systemctl start ecrlogind`, and see `journalctl -u ecrlogind`"
                raise _Failure(f"not running: there is no status in {state}", advice, EXIT_NOT_RUNNING)
        elif options.json:
            print(json.dumps(document, indent=2))
        else:
            _print_table(document, running=running)
        if not options.watch:
            break
        sys.stdout.flush()
        time.sleep(_WATCH)
    if not running:
        return EXIT_NOT_RUNNING
    return EXIT_OK if document and document["verdict"] == "healthy" else EXIT_NOT_ALL


def _print_table(document: Mapping[str, Any], *, running: bool) -> None:
    from ecrlogind.core.table import coloured, plain, table

    paint = coloured if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else plain
    print(table(document, datetime.now().astimezone(), paint, running=running), end="")


def _wait(options: argparse.Namespace) -> int:
    until = time.monotonic() + options.timeout.total_seconds()
    while True:
        document = _read(_reader_state(options))
        running = document is not None and _is_running(document)
        if document is not None and running and _is_awaited(document, options.hosts):
            return EXIT_OK
        if time.monotonic() >= until:
            break
        time.sleep(_POLL)
    if document is None or not running:
        advice = "start it with `systemctl start ecrlogind`, and see `journalctl -u ecrlogind`"
        raise _Failure(f"not running after {options.timeout}", advice, EXIT_NOT_RUNNING)
    _print_table(document, running=True)
    raise _Failure(f"not in time: {options.timeout} have passed", "see the reasons above", EXIT_NOT_ALL)


def _is_awaited(document: Mapping[str, Any], hosts: Sequence[str]) -> bool:
    """Whether the wait is over: the daemon is ready, or every login of *hosts* is in place or foreign."""
    if not hosts:
        return bool(document["ready"])
    states = {host: [] for host in hosts}  # type: dict[str, list[str]]
    for login in document["logins"]:
        if login["host"] in states:
            states[login["host"]].append(login["state"])
    return all(each and set(each) <= {"in_place", "foreign"} for each in states.values())


def _check(options: argparse.Namespace) -> int:
    from ecrlogind.core.grammar import warnings
    from ecrlogind.core.settings import SettingsError
    from ecrlogind.keeper import accounts, settingsfile

    try:
        settings = settingsfile.load(_config(options), runs_as=accounts.ourselves().name)
    except SettingsError as error:
        _print_problems(error.problems)
        raise _bad_settings(len(error.problems)) from None
    for problem in warnings(settings):
        print(f"warning: {problem}", file=sys.stderr)
    if options.print:
        from ecrlogind.core.render import to_toml

        print(to_toml(settings), end="")
    return EXIT_OK
