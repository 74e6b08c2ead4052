"""Bytes on the disk: what is installed, and what a file grows by."""

from __future__ import annotations

import os
from pathlib import Path

from bench.place import MOST, Place, hosts_of
from bench.report import Fact, Found


def measure(place: Place, found: Found, _runs: int) -> None:
    """Add what an installation takes, and a destination with many registries."""
    sizes = []
    for count in (1, MOST):
        contender = place.login("ecrlogind", place.settings(hosts_of(count)))
        contender.before()
        contender.ended(contender.started())
        sizes.append(place.destination.stat().st_size)
    each = (sizes[1] - sizes[0]) / (MOST - 1)
    installed = sum(_taken(path) for path in place.ours.rglob("*"))
    found.facts += [
        Fact("installed, without Python itself", f"{installed / 1e6:.1f} MB", "15 MB"),
        Fact(f"config.json with {MOST} registries", f"{sizes[1] / 1e6:.2f} MB: {each:.0f} bytes each"),
    ]


def _taken(path: Path) -> int:
    return os.lstat(path).st_blocks * 512
