"""What is mounted over the way to a file: a home that autofs, or a late server, puts over the one that was there.

No watch tells of that. The kernel's own list does, and asks no file system for it, so a dead one holds up nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

_LIST = Path("/proc/self/mountinfo")

# How the kernel writes a name's odd characters there.
_ESCAPES = str.maketrans({" ": r"\040", "\t": r"\011", "\n": r"\012", "\\": r"\134"})


class Mounts:
    """Remembers what lies over the way to each path that it follows, links not followed."""

    def __init__(self, listed: Path = _LIST) -> None:
        self._listed = listed
        self._over: dict[str, tuple[str, ...]] = {}

    def follow(self, path: str) -> None:
        """Follow *path* from now on."""
        if path not in self._over:
            self._over[path] = _over(path, self._mounted())

    def moved(self) -> list[str]:
        """Return the paths over whose way something was mounted or unmounted since the last time."""
        mounted = self._mounted()
        now = {path: _over(path, mounted) for path in self._over}
        found = [path for path, mounts in now.items() if mounts != self._over[path]]
        self._over = now
        return found

    def _mounted(self) -> Mapping[str, tuple[str, ...]]:
        """Return the ids of the mounts at each place; of what is mounted over, too."""
        found: dict[str, tuple[str, ...]] = {}
        for line in self._listed.read_text(errors="surrogateescape").splitlines():
            number, _, _, _, place, _ = line.split(" ", 5)
            found[place] = (*found.get(place, ()), number)
        return found


def _over(path: str, mounted: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    above = PurePosixPath(path.translate(_ESCAPES)).parents
    return tuple(number for place in above for number in mounted.get(str(place), ()))
