"""check and its like: the commands that read the settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ecrlogind.commands.places import EXIT_OK, EXIT_SETTINGS, Failure, config_file, reader_state
from ecrlogind.commands.published import read

if TYPE_CHECKING:
    from ecrlogind.core.settings import Settings
    from ecrlogind.core.wire import Instance


def load(options: argparse.Namespace) -> Settings:
    """Return the settings; print all that is wrong with them and raise Failure."""
    from ecrlogind.core.settings import SettingsError
    from ecrlogind.keeper import accounts, settingsfile

    try:
        return settingsfile.load(config_file(options), runs_as=accounts.ourselves().name)
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        what = "a problem" if len(error.problems) == 1 else f"{len(error.problems)} problems"
        advice = "mend what is named above; `ecrlogind check` says it again"
        raise Failure(f"the settings have {what}", advice, EXIT_SETTINGS) from None


def check(options: argparse.Namespace) -> int:
    """Say what is wrong with the settings, and print those in effect."""
    settings = load(options)
    if options.print:
        from ecrlogind.core.render import to_toml

        print(to_toml(settings), end="")
    return EXIT_OK


def provider_config(options: argparse.Namespace) -> int:
    """Print kubelet's CredentialProviderConfig."""
    from ecrlogind.core import kubelet

    settings = load(options)
    print(kubelet.provider_config(settings, instance_of(read(reader_state(options)).document)), end="")
    return EXIT_OK


def instance_of(document: Mapping[str, Any] | None) -> Instance | None:
    """Return what a status document gives away of the instance: `self` stands in it with the host that it became."""
    from ecrlogind.core.registry import Registry
    from ecrlogind.core.wire import SELF, Instance

    for row in (document or {"registries": []})["registries"]:
        if row["name"] == SELF and row["host"]:
            registry = Registry.parse(row["host"])
            return Instance(registry.account or "", registry.region, "")
    return None
