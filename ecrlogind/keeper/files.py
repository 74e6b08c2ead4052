"""Files of our own state: written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_PREFIX = ".new-"


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Replace *path* by *content* with *mode*: a reader sees the old or the new, and a power cut leaves one of them."""
    temporary = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask is not ours to trust
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sweep(directory: Path) -> None:
    """Take out what a writer that was killed left in *directory*."""
    for leftover in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            leftover.unlink()
