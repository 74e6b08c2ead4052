"""The C library's memory: what was given back to it, it is to give back to the host."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_libc = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # malloc.h of glibc


def share_one_arena() -> None:
    """Let all threads to come share one arena.

    glibc gives up to eight a core to threads that come and go, as ours do for each child, and each keeps what it once
    held: 5 MB more after some hundred renewals of 49 credentials, and on it went.
    """
    with suppress(AttributeError):  # musl has no arenas
        _libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the host all pages that hold nothing: between the few that do, some megabytes after every busy moment."""
    with suppress(AttributeError):
        _libc.malloc_trim(0)
