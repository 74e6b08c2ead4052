"""The first start after a boot: nothing in the page cache, every file fetched from the disk."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import peers
from bench.logins import LATE, OURS
from bench.measure import Contender, in_turn
from bench.place import Place, hosts_of
from bench.report import Fact, Found, Race

DROP = Path("/proc/sys/vm/drop_caches")
# What the shell that waited for a command has fetched from the disk with all its children, in its own words.
COUNTED = '"$@"; while read -r name value; do [ "$name" != read_bytes: ] || echo "$value" >"$COUNT"; done </proc/$$/io'


def measure(place: Place, found: Found, runs: int) -> None:
    """Add what a first start takes, beside the bare script."""
    hosts = hosts_of(1)
    contenders = [place.login(OURS, place.settings(hosts)), peers.script(place, hosts)]
    with place.late(LATE):
        opened = {each.name: _opened(each) for each in contenders}
        if not _can_drop():
            found.skipped.append("a dropped page cache, which this machine does not let us drop")
            found.facts.append(_files(opened))
            return
        cold = [replace(each, before=_dropping(place)) for each in contenders]
        race = Race("1 registry, 100 ms, page cache dropped", in_turn(cold, min(runs, 5), warm_up=1))
        fetched = {each.name: _fetched(each) for each in cold}
    found.races.append(race)
    ours, script = race.figures.values()
    found.facts += [
        _files(opened),
        Fact("fetched from the disk until logged in", _listed({n: f"{v / 1e6:.1f} MB" for n, v in fetched.items()})),
        Fact("page cache dropped, to the script", f"{ours.wall / script.wall:.2f} x", "0.6"),
    ]


def _files(opened: dict[str, int]) -> Fact:
    return Fact("files opened until logged in", _listed({n: str(v) for n, v in opened.items()}), "400")


def _listed(values: dict[str, str]) -> str:
    ours, *others = values.items()
    return f"{ours[1]} ({', '.join(f'{name}: {value}' for name, value in others)})"


def _can_drop() -> bool:
    try:
        DROP.write_text("1\n")
    except OSError:
        return False
    return True


def _dropping(place: Place) -> Callable[[], None]:
    def before() -> None:
        place.afresh()
        os.sync()
        DROP.write_text("3\n")

    return before


def _opened(contender: Contender) -> int:
    """Run *contender* once under strace; return how many files it and its children opened, directories aside."""
    with tempfile.NamedTemporaryFile("r") as trace:
        strace = ("strace", "-f", "-qq", "-e", "trace=openat,open,execve", "-o", trace.name)
        traced = replace(contender, command=[*strace, *contender.command])
        traced.before()
        traced.ended(traced.started())
        lines = trace.read().splitlines()
    return sum(bool(re.search(r"\) += \d+$", line)) and "O_DIRECTORY" not in line for line in lines)


def _fetched(contender: Contender) -> int:
    """Run *contender* once; return the bytes that came from the disk for it and its children."""
    with tempfile.NamedTemporaryFile("r") as count:
        counted = replace(
            contender,
            command=["bash", "-c", COUNTED, "bash", *contender.command],
            environment=dict(contender.environment) | {"COUNT": count.name},
        )
        counted.before()
        counted.ended(counted.started())
        return int(count.read())
