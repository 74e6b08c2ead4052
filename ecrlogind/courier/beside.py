"""The files that a swap needs beside the real one, and what to do with those that a kill left behind.

``.ecrlogind.TAG.new.RANDOM`` is being written and nobody's. ``.ecrlogind.TAG.NEW.OLD.RANDOM`` takes part in an
exchange: NEW and OLD are digests of the texts that it exchanges, so whoever finds it later can tell ours (never
exchanged), the old one (did its duty) and a third: what another program wrote into it meanwhile, which must be merged
before it may go. TAG is the real name's digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass

from ecrlogind.core import dockerconfig
from ecrlogind.courier.file import File

# Younger ones may be another courier's, unless none is at work.
_OLD_ENOUGH = 600.0

# Somebody may have put a million files into the directory.
_MOST_LOOKED_AT = 1000

_SWAPPING = re.compile(r"(?P<new>[0-9a-f]{16})\.(?P<old>[0-9a-f]{16})\.[0-9a-f]{16}")
_WRITING = re.compile(r"new\.[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the files beside *name*."""

    prefix: str

    @classmethod
    def beside(cls, name: str) -> Names:
        """Return the names that go with a file called *name*."""
        return cls(f".ecrlogind.{_short(os.fsencode(name))[:8]}.")

    def writing(self) -> str:
        """Return a name for a file that is being written."""
        return f"{self.prefix}new.{secrets.token_hex(8)}"

    def swapping(self, new: str, old: str) -> str:
        """Return a name for a file that is about to be exchanged; *new* and *old* are digests."""
        return f"{self.prefix}{new}.{old}.{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Displaced:
    """What another program wrote into a file that we had already taken out: *theirs*, made from *base*.

    *over* is the digest of the text of ours that took its place. *name* is where it lies, None if it has none.
    """

    theirs: str
    base: str
    over: str
    name: str | None

    def onto(self, text: str) -> str:
        """Return *text* with what they changed; raise Unfit if theirs cannot be read."""
        carried = dockerconfig.carry(self.base, self.theirs, text)
        # As long as nobody but us has written since, theirs is simply the newer one.
        return self.theirs if digest(text.encode()) == self.over else carried


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file of ours that was found beside. *new* and *old* are None if it was being written."""

    name: str
    new: str | None
    old: str | None


def leftovers(file: File, names: Names, *, alone: bool) -> list[Leftover]:
    """Return what earlier couriers left behind; those that may be at work still only if we know that we are *alone*."""
    found = []
    with os.scandir(file.directory) as entries:
        for entry, _ in zip(entries, range(_MOST_LOOKED_AT), strict=False):
            if not entry.name.startswith(names.prefix):
                continue
            rest = entry.name.removeprefix(names.prefix)
            swapping = _SWAPPING.fullmatch(rest)
            if not swapping and not _WRITING.fullmatch(rest):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_uid != file.uid:
                continue
            if alone or time.time() - status.st_mtime > _OLD_ENOUGH:
                found.append(Leftover(entry.name, *(swapping.group("new", "old") if swapping else (None, None))))
    return found


def digest(data: bytes) -> str:
    """Return what tells one text from another in a name."""
    return _short(data)


def lease(descriptor: int) -> bool:
    """Take a read lease: False if a writer has the file open. Raise OSError where there are no leases."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    return True


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
