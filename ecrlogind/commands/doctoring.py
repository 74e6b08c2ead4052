"""doctor: says why a pull would fail on this host."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from pathlib import Path

from ecrlogind.commands.places import EXIT_NOT_ALL, EXIT_OK, Failure, config_file, reader_state
from ecrlogind.commands.published import read
from ecrlogind.commands.terminal import paint
from ecrlogind.core.delivery import Account
from ecrlogind.core.mistake import Mistake
from ecrlogind.core.settings import Problem, Settings, SettingsError
from ecrlogind.core.wire import Aws
from ecrlogind.doctor.evidence import Keeper
from ecrlogind.doctor.gather import Given, gather
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.report import report, text
from ecrlogind.keeper import accounts, settingsfile

EXIT_USAGE = 2


def doctor(options: argparse.Namespace) -> int:
    """Look, judge, and say what was found."""
    try:
        images: list[Image | None] = [Image.parse(each) for each in options.images]
    except Mistake as mistake:
        raise Failure(mistake.message, mistake.hint, EXIT_USAGE) from None
    given = _given(options)
    found = report([gather(given, image) for image in images or [None]])
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(text(found, paint()), end="")
    return EXIT_OK if found["healthy"] else EXIT_NOT_ALL


def _given(options: argparse.Namespace) -> Given:
    us = accounts.ourselves()
    account = accounts.find(options.user) if options.user else us
    if account is None:
        raise Failure(f"there is no user {options.user!a}", "name one of: getent passwd", EXIT_USAGE)
    if us.uid not in (account.uid, 0):
        what = f"only root can look at the files of {account.name}"
        raise Failure(what, f"run: sudo ecrlogind doctor --user {account.name}", EXIT_USAGE)
    settings, problems = _settings(options, us)
    state = reader_state(options).absolute()
    found = read(state)
    return Given(
        account=account,
        others=_others(settings, account) if us.uid == 0 else (),
        environment=dict(os.environ),
        is_caller=account.uid == us.uid,
        keeper=Keeper(str(state), found.document, found.running, found.error),
        config=str(config_file(options) or settingsfile.DEFAULT),
        settings=settings,
        problems=problems,
        aws=_aws(settings),
    )


def _settings(options: argparse.Namespace, us: Account) -> tuple[Settings | None, tuple[Problem, ...]]:
    try:
        return settingsfile.load(config_file(options), runs_as=us.name), ()
    except SettingsError as error:
        return None, error.problems


def _others(settings: Settings | None, account: Account) -> tuple[Account, ...]:
    """Return root and the other users whom the settings name."""
    names = dict.fromkeys(["root", *(each.user for each in (settings.destinations if settings else ()) if each.user)])
    found = [accounts.find(name) for name in names]
    return tuple(each for each in found if each is not None and each.uid != account.uid)


def _aws(settings: Settings | None) -> Aws:
    if settings is None:
        return Aws()
    aws, ca = settings.aws, None
    if path := aws.ca_bundle or os.environ.get("AWS_CA_BUNDLE"):
        with suppress(OSError, UnicodeDecodeError):
            ca = Path(path).read_text()
    return Aws(endpoints=aws.endpoints, ca=ca, proxy=aws.proxy)
