"""A keeper that runs while something is measured."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place

PATIENCE = 60.0


@dataclass(frozen=True)
class Keeper:
    """`ecrlogind run`, logged in everywhere."""

    place: Place
    pid: int

    def cpu(self) -> float:
        """Return the seconds that it and the children that it has waited for have computed."""
        # Of threads the scheduler counts nanoseconds; of children that are gone there are hundredths of a second.
        own = sum(int((each / "schedstat").read_text().split()[0]) for each in self._tasks())
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return own / 1e9 + (int(fields[13]) + int(fields[14])) / 100

    def wake_ups(self) -> int:
        """Return how often its threads have gone to sleep."""
        status = [line for each in self._tasks() for line in (each / "status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))

    def _tasks(self) -> Iterator[Path]:
        return Path(f"/proc/{self.pid}/task").iterdir()


@contextmanager
def running(place: Place, config: Path) -> Iterator[Keeper]:
    """Run a keeper with *config* on a fresh host; yield it once it is logged in."""
    place.afresh()
    with (place.directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [place.ours / "bin" / "ecrlogind", "run", "--config", config],
            env=place.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _ready(place), f"the keeper; see {place.directory / 'log'}")
        yield Keeper(place, process.pid)
    finally:
        process.terminate()
        process.wait()


def _ready(place: Place) -> bool:
    try:
        document = json.loads((place.state / "status.json").read_bytes())
    except OSError:
        return False
    return bool(document["ready"] and document["verdict"] == "healthy")


def until(look: Callable[[], object], what: str, pause: float = 0.05) -> None:
    """Return once *look* says so."""
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(pause)
