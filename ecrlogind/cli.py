"""The command line. It imports lazily: `status` and `wait` must be instant, whatever else is broken."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path

from ecrlogind import __version__
from ecrlogind.commands.places import EXIT_OK, Failure

TYPE_CHECKING = False  # typing is slow to load, and `status` needs nothing of it
if TYPE_CHECKING:
    from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        module, _, function = options.command.partition(":")
        status: int = getattr(import_module(f"ecrlogind.{module}"), function)(options)
        print(end="", flush=True)  # here, where it is known what a reader who went away means
    except Failure as failure:
        print(f"ecrlogind: {failure.what}\n  {failure.advice}", file=sys.stderr)
        return failure.status
    except BrokenPipeError:  # whoever read us has seen enough
        sys.stdout = None  # or the interpreter would flush into the pipe once more
        return EXIT_OK
    except KeyboardInterrupt:
        return 130
    return status


def program() -> NoReturn:
    """Be the program: run the command that was given, and end at once. Taking Python apart takes a command's time."""
    status = main()
    with suppress(BrokenPipeError):  # as in `main`
        print(end="", flush=True)
    os._exit(status)


_USUAL_COLUMNS = 80


class _Formatter(argparse.HelpFormatter):
    """The usual one, less what loads: argparse makes one for every argument, and has shutil measure the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def _parser() -> argparse.ArgumentParser:
    what = "Keeps a host logged in to its AWS ECR registries."
    parser = argparse.ArgumentParser(prog="ecrlogind", description=what, formatter_class=_Formatter)
    parser.add_argument("--version", action="version", version=f"ecrlogind {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: str, text: str, example: str = "") -> argparse.ArgumentParser:
        epilog = f"e.g. {example or f'ecrlogind {name}'}"
        what = f"{text[:1].upper()}{text[1:]}."
        one = commands.add_parser(name, help=text, description=what, epilog=epilog, formatter_class=_Formatter)
        one.set_defaults(command=run)
        state = "the state directory (default: $ECRLOGIND_STATE, else /run/ecrlogind, else $XDG_RUNTIME_DIR/ecrlogind)"
        one.add_argument("--state", metavar="DIR", type=Path, help=state)
        return one

    def with_config(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
        config = "the settings (default: $ECRLOGIND_CONFIG, else /etc/ecrlogind/config.toml)"
        one.add_argument("--config", metavar="FILE", type=Path, help=config)
        return one

    keeping, reading, configured = "commands.keeping", "commands.reading", "commands.configured"
    with_config(command("run", f"{keeping}:run", "run the daemon in the foreground"))
    with_config(command("login", f"{keeping}:login", "run one pass, then exit", "sudo ecrlogind login"))
    with_config(command("logout", f"{keeping}:logout", "take our logins out again", "sudo ecrlogind logout"))

    text = "wait until the logins are in place"
    wait = command("wait", f"{reading}:wait", text, "ecrlogind wait --timeout 2min")
    wait.add_argument("--timeout", metavar="SPAN", type=_span, default=timedelta(minutes=2), help="default: 2min")
    wait.add_argument("hosts", metavar="HOST", nargs="*", help="only for these registries")

    status = command("status", f"{reading}:status", "say how the logins stand", "ecrlogind status --watch")
    status.add_argument("--json", action="store_true", help="print the status document")
    status.add_argument("--watch", action="store_true", help="print it anew each second until interrupted")

    text = "write the caller's logins as DIR/config.json"
    export = command("export", f"{reading}:export", text, 'ecrlogind export "$DOCKER_CONFIG"')
    export.add_argument("directory", metavar="DIR", help="a job's own DOCKER_CONFIG")

    text = "say what is wrong with the settings"
    check = with_config(command("check", f"{configured}:check", text, "ecrlogind check --print"))
    check.add_argument("--print", action="store_true", help="print the settings in effect")

    text = "print kubelet's CredentialProviderConfig for the registries configured"
    with_config(command("credential-provider-config", f"{configured}:provider_config", text))

    text = "say why a pull would fail on this host"
    example = "ecrlogind doctor 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1"
    doctor = with_config(command("doctor", "commands.doctoring:doctor", text, example))
    doctor.add_argument("--user", metavar="USER", help="for whom, as root (default: whoever asks)")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.add_argument("images", metavar="IMAGE", nargs="*", help="the image that cannot be pulled")

    text = "print the least IAM policies for the registries configured"
    policy = with_config(command("policy", "commands.policies:policy", text, "ecrlogind policy --terraform"))
    policy.add_argument("--write-access", action="store_true", help="allow pushing too")
    form = policy.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as one JSON object (the default)")
    form.add_argument("--terraform", action="store_true", help="as Terraform")
    return parser


def _span(text: str) -> timedelta:
    from ecrlogind.core.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
