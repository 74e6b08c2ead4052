"""What was found, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from bench.measure import Figures

BRIEF = 0.1  # seconds; below, milliseconds tell more


@dataclass(frozen=True)
class Race:
    """Contenders for one task; the first is the one that the others are compared with."""

    what: str
    figures: dict[str, Figures]


@dataclass(frozen=True)
class Fact:
    """One figure, as written, and what it was to be, if anything."""

    what: str
    value: str
    target: str = ""


@dataclass
class Found:
    """All that a run of the bench found."""

    races: list[Race] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def markdown(self, runs: int) -> str:
        """Return the tables."""
        lines = [
            f"Medians of {runs} runs in turn, after one that does not count; whole processes with all their children.",
            "Ratio: our time to theirs. Memory: the most that all processes of the command had together (PSS).",
            "",
            *_table(("what", "who", "wall", "CPU", "memory", "ratio"), _race_rows(self.races), "llrrrr"),
            "",
            *_table(("what", "measured", "aim"), [(f.what, f.value, f.target) for f in self.facts], "lll"),
        ]
        if self.skipped:
            lines += ["", *(f"Not measured: {each}." for each in self.skipped)]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Return every single run."""
        return json.dumps(asdict(self), indent=2) + "\n"


def _race_rows(races: Iterable[Race]) -> Iterable[Sequence[str]]:
    for race in races:
        first, *_ = race.figures.values()
        for name, each in race.figures.items():
            ratio = "" if each is first else f"{first.wall / each.wall:.2f}"
            memory = f"{each.memory / 1e6:.0f} MB" if each.memory else ""
            yield race.what, name, _seconds(each.wall), _seconds(each.cpu), memory, ratio


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= BRIEF else f"{value * 1000:.1f} ms"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> list[str]:
    rules = ["---:" if side == "r" else "---" for side in sides]
    return [f"| {' | '.join(row)} |" for row in (head, rules, *rows)]
