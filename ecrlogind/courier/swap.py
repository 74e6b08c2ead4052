"""Replace a file's text so that nobody who writes it at the same moment loses anything.

The order is the point: read, merge, write beside, flush, read again, exchange, compare what came out with what was
read, and let go of that only once nobody can still be writing into it. At every instant the name leads to a whole
file; what a kill leaves behind says by its own name what it is (see `beside`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from ecrlogind.core.dockerconfig import Trouble, Unfit
from ecrlogind.core.wire import Refusal
from ecrlogind.courier import kernel
from ecrlogind.courier.aside import Aside
from ecrlogind.courier.attributes import Attributes
from ecrlogind.courier.beside import digest
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.file import READ, File, Seen, decode
from ecrlogind.courier.refused import RefusedError, shown

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# What the kernel, a file system or a seccomp filter says where there is no renameat2 or no exchange. EPERM may mean
# something else; the plain rename will say so again.
_NO_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file: its text before and now, and whether anything about it was changed."""

    before: str
    text: str
    changed: bool


@dataclass(slots=True)
class Swap:
    """Brings *file* to where it shall be until *deadline*. *mode* and *gid* are as in an Errand."""

    file: File
    deadline: Deadline
    notes: list[Refusal]
    mode: int | None = None
    gid: int | None = None
    aside: Aside = field(init=False)

    def __post_init__(self) -> None:
        self.aside = Aside(self.file, self.deadline, self.notes)

    def run(self, change: Callable[[str], str]) -> Done:
        """Replace the text by what *change* makes of it; raise RefusedError, OSError, Unfit.

        *change* returns an equal text if there is nothing to do, and is called again whenever somebody else writes.
        """
        self.aside.sweep()
        before: str | None = None
        # What was put in place is read back even if the time is over.
        while self.deadline.left or before is not None:
            seen = self.file.read()
            merged = tuple(self.aside.displaced)
            try:
                text = decode(seen.data) if seen else ""
                wanted = change(self.aside.merged_into(text))
            except Unfit:
                if seen is not None and self.aside.is_half_written(seen):
                    continue
                raise
            if wanted == text:
                self.aside.settle(merged, text, text)
                changed = seen is not None and self._tighten(seen)
                return Done(text if before is None else before, text, changed or before is not None)
            if not self.deadline.left:
                break
            if self._replace(seen, wanted.encode()):
                before = text if before is None else before
                self.aside.settle(merged, text, wanted)
        raise RefusedError(
            Trouble.CONTENDED,
            f"{shown(self.file.path)}: other programs keep writing it",
            f"see which: fuser -v {shown(self.file.path)}",
        )

    # --- the swap itself

    def _replace(self, seen: Seen | None, data: bytes) -> bool:
        """Put *data* in place of what was *seen*; False if that is no longer what stands there."""
        file = self.file
        temporary = self._write(data, seen)
        try:
            if not self._is_still(seen):
                file.remove(temporary)
                return False
            if seen is None:
                placed = self._place_new(temporary)
            else:
                named = self.aside.names.swapping(digest(data), digest(seen.data))
                file.rename(temporary, named)
                temporary = named
                placed = self._exchange(temporary, data, seen)
        except FileNotFoundError:
            return False  # somebody removed what we wrote
        except BaseException:
            # What was never exchanged is ours; anything else is somebody's and is told by its name.
            if file.peek(temporary) == data:
                file.remove(temporary)
            raise
        file.sync()
        return placed

    def _exchange(self, temporary: str, data: bytes, seen: Seen) -> bool:
        file = self.file
        with self.deadline.busy:
            try:
                kernel.exchange(file.directory, temporary, file.name)
            except FileNotFoundError:
                file.remove(temporary)
                return False
            except OSError as e:
                if e.errno not in _NO_EXCHANGE:
                    raise
                return self._rename_over(temporary, seen)
            if file.peek(temporary) != seen.data:
                self._swap_back(temporary, data)
                return False
        if seen.links > 1:
            self.aside.note(
                Trouble.HARD_LINK,
                f"{shown(file.path)} had other names (hard links), which keep the old text",
                "make them symbolic links",
            )
        self.aside.let_go(temporary, read=seen.data, written=data)
        return True

    def _swap_back(self, temporary: str, data: bytes) -> None:
        """Undo an exchange of *data* that pushed out another version than the one that was read."""
        file = self.file
        try:
            kernel.exchange(file.directory, temporary, file.name)
        except FileNotFoundError:
            # They removed the file since, and that is their last word: what came out is no longer wanted.
            self.aside.let_go(temporary, read=file.peek(temporary) or b"", written=data)
            return
        # If somebody wrote over ours between the two exchanges, that is what came out now: it is merged like the rest.
        self.aside.let_go(temporary, read=data, written=data)

    def _place_new(self, temporary: str) -> bool:
        """Give the name to a first file; False if there is one now."""
        file = self.file
        try:
            kernel.rename_new(file.directory, temporary, file.name)
        except FileExistsError:
            file.remove(temporary)
            return False
        except OSError as e:
            if e.errno not in _NO_EXCHANGE:
                raise
        else:
            return True
        try:
            # No less safe: a link replaces nothing either.
            os.link(temporary, file.name, src_dir_fd=file.directory, dst_dir_fd=file.directory, follow_symlinks=False)
        except FileExistsError:
            file.remove(temporary)
            return False
        except OSError:
            return self._rename_over(temporary, None)
        file.remove(temporary)
        return True

    def _rename_over(self, temporary: str, seen: Seen | None) -> bool:
        """Take the weaker way: look once more, then rename. What is written in that instant is lost; this is said."""
        file = self.file
        old = os.open(file.name, READ, dir_fd=file.directory) if seen is not None else -1
        try:
            if not self._is_still(seen):
                file.remove(temporary)
                return False
            file.rename(temporary, file.name)
            self.aside.note(
                Trouble.WEAKER_SWAP,
                f"{shown(file.path)}: two names cannot be exchanged here (renameat2), so a plain rename was used",
                "another program's login of the same instant can be lost; a newer kernel or file system helps",
            )
            if seen is None:
                return True
            written = file.peek(file.name) or b""
            return not (self.aside.is_quiet(old) and self.aside.was_changed(old, None, read=seen.data, written=written))
        finally:
            if old >= 0:
                os.close(old)

    def _is_still(self, seen: Seen | None) -> bool:
        again = self.file.read()
        return (again and again.data) == (seen and seen.data)

    # --- the files beside

    def _write(self, data: bytes, seen: Seen | None) -> str:
        """Write *data* to a new file beside, flushed and with the attributes that it is to have; return its name."""
        file = self.file
        name = self.aside.names.writing()
        descriptor = os.open(name, _WRITE, 0o600, dir_fd=file.directory)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            attributes = (
                seen.attributes.wanted(self.mode, self.gid) if seen else Attributes(self.mode or 0o600, self.gid)
            )
            attributes.give(descriptor, group_matters=self.gid is not None)
            os.fsync(descriptor)
        except BaseException:
            file.remove(name)
            raise
        finally:
            os.close(descriptor)
        return name

    def _tighten(self, seen: Seen) -> bool:
        """Give a file whose text is right the attributes that it shall have."""
        wanted = seen.attributes.wanted(self.mode, self.gid)
        if wanted == seen.attributes:
            return False
        descriptor = os.open(self.file.name, READ, dir_fd=self.file.directory)
        try:
            wanted.give(descriptor, group_matters=self.gid is not None)
            return Attributes.of(descriptor) != seen.attributes
        finally:
            os.close(descriptor)
