"""Measure commands as whole processes, in turn: A B C A B C …, so that a machine that drifts drifts for all."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Figures:
    """What the runs of one contender came to, in seconds; *memory* is in bytes, of all its processes together."""

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    memory: int | None = None

    @property
    def wall(self) -> float:
        """The median of the wall clock's seconds."""
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        """The median of the seconds that it and all its children computed."""
        return statistics.median(self.cpus)


@dataclass(frozen=True)
class Contender:
    """A command to measure; *before* is called, unmeasured, ahead of each run. It reads *stdin*, if anything."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    before: Callable[[], None] = lambda: None
    stdin: str = os.devnull

    def started(self) -> subprocess.Popen[bytes]:
        """Start it; what it says on stderr is to be read."""
        with Path(self.stdin).open("rb") as stdin:
            return subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def ended(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for *process*; return its CPU seconds; raise RuntimeError if it failed."""
        # Drained before it is waited for: what is said to a full pipe would never be said.
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{self.name}: exit {process.returncode}: {said.decode(errors='replace')[-2000:]}")
        return usage.ru_utime + usage.ru_stime


def in_turn(contenders: Sequence[Contender], runs: int, warm_up: int = 1) -> dict[str, Figures]:
    """Run every contender *runs* times in turn, after *warm_up* rounds that do not count; raise if one fails."""
    found = {each.name: Figures() for each in contenders}
    for number in range(warm_up + runs):
        for each in contenders:
            each.before()
            started_at = time.perf_counter()
            cpu = each.ended(each.started())
            wall = time.perf_counter() - started_at
            if number >= warm_up:
                found[each.name].walls.append(wall)
                found[each.name].cpus.append(cpu)
    return found
