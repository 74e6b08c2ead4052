"""Measure commands as whole processes, in turn: A B C A B C …, so that a machine that drifts drifts for all."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """What the runs of one contender came to; seconds, and kilobytes of the largest process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the wall clock's seconds."""
        return statistics.median(self.wall)


@dataclass(frozen=True)
class Contender:
    """A command to measure; *before* is called, unmeasured, ahead of each run."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    before: Callable[[], None] = lambda: None


def in_turn(contenders: Sequence[Contender], runs: int, warm_up: int = 1) -> dict[str, Figures]:
    """Run every contender *runs* times in turn, after *warm_up* rounds that do not count; raise if one fails."""
    found = {each.name: Figures() for each in contenders}
    for number in range(warm_up + runs):
        for each in contenders:
            each.before()
            wall, cpu, peak = _run(each)
            if number >= warm_up:
                found[each.name].wall.append(wall)
                found[each.name].cpu.append(cpu)
                found[each.name].peak.append(peak)
    return found


def _run(contender: Contender) -> tuple[float, float, int]:
    started_at = time.perf_counter()
    process = subprocess.Popen(
        list(contender.command),
        env=dict(contender.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    # Drained before it is waited for: what is said to a full pipe would never be said.
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{contender.name}: exit {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - started_at, usage.ru_utime + usage.ru_stime, usage.ru_maxrss
