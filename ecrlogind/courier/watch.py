"""Arm an inotify descriptor so that one event means: somebody changed what the errand left, look again.

The keeper polls it and never reads it. So only what matters is watched: the file, the links that lead to it and the
directories themselves, not what else goes on in them; a directory's entries only while the file is not there.
"""

from __future__ import annotations

import contextlib
import os

from ecrlogind.courier import kernel
from ecrlogind.courier.walk import Trail

_PLACE = kernel.IN_DELETE_SELF | kernel.IN_MOVE_SELF
_SELF = _PLACE | kernel.IN_ATTRIB
# A rename over the file, or its removal, is a change of its link count: IN_ATTRIB.
_FILE = _SELF | kernel.IN_MODIFY | kernel.IN_CLOSE_WRITE
_APPEARING = kernel.IN_CREATE | kernel.IN_MOVED_TO
_ENTRIES = _APPEARING | kernel.IN_MOVED_FROM | kernel.IN_DELETE


def arm(trail: Trail) -> int:
    """Return an inotify descriptor that becomes readable once something on *trail* changes; raise OSError."""
    descriptor = kernel.inotify()
    try:
        for directory, name in trail.links:
            _try(descriptor, directory, name, _SELF)
        for directory in trail.directories[:-1]:
            # Its attributes are nobody's business as long as it lets us through, and the walk ends where it does not.
            _try(descriptor, directory, ".", _PLACE | kernel.IN_ONLYDIR)
        last = _SELF | kernel.IN_ONLYDIR
        try:
            kernel.watch(descriptor, trail.directory, trail.missing or trail.name, _FILE)
        except FileNotFoundError:
            last |= _APPEARING
        except OSError:
            last |= _ENTRIES
        kernel.watch(descriptor, trail.directory, ".", last)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        os.chdir("/")
    return descriptor


def _try(descriptor: int, directory: int, name: str, mask: int) -> None:
    # A directory that may be passed but not read cannot be watched; that it is replaced is noticed at the next look.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        kernel.watch(descriptor, directory, name, mask)
