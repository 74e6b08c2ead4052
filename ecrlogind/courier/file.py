"""The file itself, held by its directory's descriptor and its name: read it, or say why it is none of ours to touch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ecrlogind.core.dockerconfig import Trouble, Unfit
from ecrlogind.courier.attributes import Attributes
from ecrlogind.courier.refused import RefusedError, shown

# A thousand ECR logins are 3 MB; nothing that is larger than this was written by a container client.
LARGEST = 16 * 1024 * 1024

# O_NONBLOCK: a FIFO must not hold us. O_NOFOLLOW: links have been followed by the walk.
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

# How often, and after how many seconds, a lock is asked for.
_TRIES, _PAUSE = 50, 0.01

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was read. *links* is how many names it has."""

    data: bytes
    attributes: Attributes
    links: int


@dataclass(slots=True)
class File:
    """One file: *name* in *directory*. *path* and *advice* (what to do about a wrong owner) are for messages.

    *uid* is whose the file must be. The directory is opened anew here, readable, to be flushed and listed.
    """

    anchor: int
    name: str
    path: str
    uid: int
    advice: str
    directory: int = field(init=False)

    def __post_init__(self) -> None:
        self.directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.anchor)

    def close(self) -> None:
        """Close the directory."""
        os.close(self.directory)

    def read(self) -> Seen | None:
        """Return what the file holds, None if it is not there; raise RefusedError, OSError."""
        try:
            # Looked at before it is opened: to open a device is to use it.
            self._check(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False))
            descriptor = os.open(self.name, READ, dir_fd=self.directory)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            self._check(status)
            return Seen(read_all(descriptor, self.path), Attributes.of(descriptor), status.st_nlink)
        finally:
            os.close(descriptor)

    def peek(self, name: str) -> bytes | None:
        """Return what stands under another *name* beside it; None for whatever cannot be read."""
        with contextlib.suppress(OSError, RefusedError):
            descriptor = os.open(name, READ, dir_fd=self.directory)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return read_all(descriptor, name)
            finally:
                os.close(descriptor)
        return None

    def rename(self, old: str, new: str) -> None:
        """Give *old* the name *new*, whatever has it."""
        os.rename(old, new, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def remove(self, name: str) -> None:
        """Unlink *name*, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.directory)

    def sync(self) -> None:
        """Flush the directory, so that the names outlive a power cut."""
        try:
            os.fsync(self.directory)
        except OSError as e:
            if e.errno != errno.EINVAL:  # some file systems cannot, and need not
                raise

    def is_alone(self) -> bool:
        """Whether no other courier is at work in this directory. While this is open, none that asks is."""
        try:
            fcntl.flock(self.directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def join(self) -> None:
        """Be one of those at work: no other is alone from now on.

        Whoever is alone is so for a moment. Anybody who may read the directory can lock it for longer, so the wait is
        short: without the lock one of two couriers at most starts over.
        """
        for _ in range(_TRIES):
            try:
                fcntl.flock(self.directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            except OSError:
                return
            else:
                return

    def _check(self, status: os.stat_result) -> None:
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            kind = next((word for is_one, word in _KINDS if is_one(mode)), "something else")
            raise RefusedError(
                Trouble.NOT_A_FILE,
                f"{shown(self.path)} is {kind}, not a file",
                f"move it away: mv {shown(self.path)} {shown(self.path + '.away')}",
            )
        if status.st_uid != self.uid:
            raise RefusedError(
                Trouble.WRONG_OWNER,
                f"{shown(self.path)} belongs to uid {status.st_uid}, not to uid {self.uid}",
                self.advice,
            )


def read_all(descriptor: int, path: str) -> bytes:
    """Return all that an open file holds, from its start; raise RefusedError if it is too large."""
    size = os.fstat(descriptor).st_size
    chunks: list[bytes] = []
    at = 0
    while size <= LARGEST and at <= LARGEST:
        chunk = os.pread(descriptor, 1 << 20, at)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        at += len(chunk)
    raise RefusedError(
        Trouble.TOO_LARGE,
        f"{shown(path)} is larger than {LARGEST >> 20} MiB",
        f"no client writes that much: move it away: mv {shown(path)} {shown(path + '.away')}",
    )


def decode(data: bytes) -> str:
    """Return the text that *data* is; raise Unfit if it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        # The error itself carries all the data.
        raise Unfit(Trouble.INVALID_JSON, f"not UTF-8 at byte {e.start}", "mend it by hand, or move it away") from None
