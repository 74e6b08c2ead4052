"""From start to logged in: how long, for how many registries and identities, beside the peers."""

from __future__ import annotations

from dataclasses import replace

from bench import peers
from bench.measure import Contender, in_turn
from bench.memory import peak_of
from bench.place import NAMED, Place, hosts_of
from bench.report import Fact, Found, Race

OURS = "ecrlogind"
LATE = 0.1


def measure(place: Place, found: Found, runs: int) -> None:
    """Add the races against the peers, and how we grow."""
    one, ten = hosts_of(1), hosts_of(NAMED)
    with place.late(LATE):
        _race(found, "1 registry, 100 ms", _all(place, one), runs)
        _race(found, "10 registries, 100 ms", _all(place, ten), runs)
        roles = place.login(OURS, place.settings(ten, roles=True))
        _race(found, "10 registries, 10 roles, 100 ms", [roles, peers.profiles(place, ten)], runs)
    for seconds in (0.0, 0.3):
        with place.late(seconds):
            _race(found, f"1 registry, {seconds * 1000:.0f} ms", _all(place, one), runs, memory=False)
            quick = [place.login(OURS, place.settings(ten)), peers.go_helper(place, ten), peers.script(place, ten)]
            _race(found, f"10 registries, {seconds * 1000:.0f} ms", quick, runs, memory=False)
    _growth(place, found, runs)
    _judge(found)


def _all(place: Place, hosts: list[str]) -> list[Contender]:
    ours = place.login(OURS, place.settings(hosts))
    return [ours, peers.cli(place, hosts), peers.go_helper(place, hosts), peers.script(place, hosts)]


def _growth(place: Place, found: Found, runs: int) -> None:
    with place.late(LATE):
        counts = (1000, 100, 10)
        more = [place.login(f"{count} registries", place.settings(hosts_of(count))) for count in counts]
        _race(found, "more registries, one identity", more, runs)
        wide = [place.login(f"{n} identities", place.settings(hosts_of(n), roles=True)) for n in (100, 10, 1)]
        _race(found, "an identity per registry", wide, max(runs - 2, 1))


def _race(found: Found, what: str, contenders: list[Contender], runs: int, *, memory: bool = True) -> None:
    figures = in_turn(contenders, runs)
    if memory:
        figures = {each.name: replace(figures[each.name], memory=peak_of(each)) for each in contenders}
    found.races.append(Race(what, figures))


def _judge(found: Found) -> None:
    races = {race.what: race.figures for race in found.races}

    def ratio(what: str, first: str, second: str) -> str:
        return f"{races[what][first].wall / races[what][second].wall:.2f} x"

    roles = "10 registries, 10 roles, 100 ms"
    growth = "more registries, one identity"
    found.facts += [
        Fact("1 registry to the CLI", ratio("1 registry, 100 ms", OURS, peers.CLI), "0.6 (0.45)"),
        Fact("10 registries to the CLI", ratio("10 registries, 100 ms", OURS, peers.CLI), "0.08 (0.06)"),
        Fact("10 registries to the Go helper", ratio("10 registries, 100 ms", OURS, peers.GO), "0.45 (0.35)"),
        Fact("10 roles to the CLI with profiles", ratio(roles, OURS, peers.PROFILES), "0.12"),
        Fact("1,000 registries to 10", ratio(growth, "1000 registries", "10 registries"), "1.5"),
        Fact("100 identities to 10", ratio("an identity per registry", "100 identities", "10 identities"), "10"),
    ]
