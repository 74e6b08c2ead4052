"""Delivery to many: a file for each user, a courier for each file."""

from __future__ import annotations

import pwd
import shutil

from bench.measure import Contender, in_turn
from bench.place import NAMED, Place, hosts_of
from bench.report import Found, Race

OWNER = "nobody"
COUNTS = (50, 10, 1)


def measure(place: Place, found: Found, runs: int) -> None:
    """Add how long a login takes for 1, 10 and 50 destinations of another user's."""
    figures = in_turn([_login(place, count) for count in COUNTS], runs)
    found.races.append(Race("10 registries to many files of another user's", figures))


def _login(place: Place, count: int) -> Contender:
    top = place.directory / "users"
    homes = [top / str(number) for number in range(count)]
    destinations = [f'{{ path = "{home}/config.json", owner = "{OWNER}" }}' for home in homes]
    contender = place.login(f"{count} files", place.settings(hosts_of(NAMED), destinations=destinations))

    def before() -> None:
        place.afresh()
        shutil.rmtree(top, ignore_errors=True)
        owner = pwd.getpwnam(OWNER)
        for home in homes:
            home.mkdir(parents=True)
            shutil.chown(home, owner.pw_uid, owner.pw_gid)

    return Contender(contender.name, contender.command, contender.environment, before)
