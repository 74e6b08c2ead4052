"""What the C library does with memory that was given back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h of glibc


def share_one_arena() -> None:
    """Let all threads to come share one arena.

    glibc gives up to eight a core to threads that come and go, as ours do for each child, and each keeps what it once
    held: 5 MB more after some hundred renewals of 49 credentials, and on it went.
    """
    with suppress(AttributeError):  # musl has no arenas
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
