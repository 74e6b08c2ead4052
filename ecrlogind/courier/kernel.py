"""The system calls that Python has no names for."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_ONLYDIR = 0x01000000
IN_DONT_FOLLOW = 0x02000000
_IN_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK  # IN_CLOEXEC and IN_NONBLOCK are defined as these


def hide() -> None:
    """Let no process of the same user look into this one: no ptrace, no pidfd_getfd, no core, no environ."""
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def give_up_rights() -> None:
    """Drop every capability, for good: a courier for root inherits the keeper's and needs none of them."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", header, bytes(24))


def exchange(directory: int, one: str, other: str) -> None:
    """Swap two names in *directory*, both of which must be there."""
    _renameat2(directory, one, other, _RENAME_EXCHANGE)


def rename_new(directory: int, old: str, new: str) -> None:
    """Give *old* the name *new*, which must not be there."""
    _renameat2(directory, old, new, _RENAME_NOREPLACE)


def inotify() -> int:
    """Return a new inotify descriptor."""
    return _call("inotify_init1", _IN_FLAGS)


def watch(descriptor: int, directory: int, name: str, mask: int) -> None:
    """Watch *name* in *directory*, itself and no link's end.

    It goes by way of the working directory: inotify knows no directory descriptors, and what a process that hides has
    under /proc/self/fd is root's.
    """
    os.fchdir(directory)
    _call("inotify_add_watch", descriptor, os.fsencode(name), mask | IN_DONT_FOLLOW)


def _renameat2(directory: int, old: str, new: str, flags: int) -> None:
    _call("renameat2", directory, os.fsencode(old), directory, os.fsencode(new), flags)


def _call(name: str, *arguments: int | bytes) -> int:
    try:
        function = getattr(_libc, name)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    result = int(function(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
