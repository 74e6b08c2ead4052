"""What other programs wrote into a file that we took out: nothing of it is let go of before it is merged."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass, field

from ecrlogind.core.dockerconfig import Trouble, Unfit
from ecrlogind.core.wire import Refusal
from ecrlogind.courier import beside
from ecrlogind.courier.beside import Displaced, Leftover, Names, digest
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.file import READ, File, Seen, decode, read_all
from ecrlogind.courier.refused import shown

_PAUSE = 0.01


@dataclass(slots=True)
class Aside:
    """The files beside *file*: this courier's, once they came out, and what earlier ones left behind."""

    file: File
    deadline: Deadline
    notes: list[Refusal]
    displaced: list[Displaced] = field(default_factory=list)
    _held: list[Leftover] = field(default_factory=list)

    @property
    def names(self) -> Names:
        """The names that such files have."""
        return Names.beside(self.file.name)

    def sweep(self) -> None:
        """Remove what earlier couriers left behind, and take up what must be merged first."""
        for left in beside.leftovers(self.file, self.names, alone=self.file.is_alone()):
            with contextlib.suppress(FileNotFoundError):
                self._take_up(left)
        self.file.join()

    def _take_up(self, left: Leftover) -> None:
        file = self.file
        if left.new is None or left.old is None:
            file.remove(left.name)
            return
        descriptor = os.open(left.name, READ, dir_fd=file.directory)
        try:
            if not _is_closed(descriptor):
                self._held.append(left)
                self._left_beside(left.name, "another program still has it open for writing")
                return
            data = read_all(descriptor, left.name)
            if digest(data) in (left.new, left.old):
                file.remove(left.name)
            else:
                self.displaced.append(Displaced(decode(data), "", left.new, left.name))
        except Unfit as e:
            self._left_beside(left.name, str(e))
        finally:
            os.close(descriptor)

    def merged_into(self, text: str) -> str:
        """Return *text* with what was displaced."""
        for each in tuple(self.displaced):
            try:
                text = each.onto(text)
            except Unfit as e:
                self.displaced.remove(each)
                self._left_beside(each.name or "what another program wrote", str(e))
        return text

    def settle(self, merged: tuple[Displaced, ...], before: str, now: str) -> None:
        """Let go of what was displaced and is *merged*. What is still being written must later be merged into *now*."""
        for each in merged:
            if each in self.displaced:
                self.displaced.remove(each)
                if each.name is not None:
                    self.file.remove(each.name)
        for left in self._held if before != now else ():
            if left.new == digest(before.encode()) and left.old is not None:
                self.file.rename(left.name, self.names.swapping(digest(now.encode()), left.old))

    def let_go(self, temporary: str, *, read: bytes, written: bytes) -> None:
        """Unlink what came out and held *read*, unless another program has it open for writing or wrote into it."""
        file = self.file
        try:
            descriptor = os.open(temporary, READ, dir_fd=file.directory)
        except FileNotFoundError:
            return
        try:
            if not self.is_quiet(descriptor):
                self._left_beside(temporary, "another program still has it open for writing")
            elif not self.was_changed(descriptor, temporary, read=read, written=written):
                file.remove(temporary)
                if self._is_awaited(descriptor):
                    # It was opened by its old name in the very moment; it has none any more, but we hold it still.
                    self.is_quiet(descriptor)
                    self.was_changed(descriptor, None, read=read, written=written)
        finally:
            os.close(descriptor)

    def was_changed(self, descriptor: int, name: str | None, *, read: bytes, written: bytes) -> bool:
        """Whether an old file holds something else than was *read*; if so it is remembered, to be merged."""
        late = read_all(descriptor, self.file.path)
        if late == read:
            return False
        try:
            self.displaced.append(Displaced(decode(late), decode(read), digest(written), name))
        except Unfit as e:
            self._left_beside(name or "what another program wrote", str(e))
        return True

    def is_quiet(self, descriptor: int) -> bool:
        """Whether nobody has an old file open for writing; waits for that until the deadline."""
        while True:
            try:
                if beside.lease(descriptor):
                    return True
            except OSError:
                self.note(
                    Trouble.NO_LEASE,
                    f"{shown(self.file.path)}: no leases here, so who is still writing it cannot be known",
                    "what a program writes in place in that instant can be lost; on a local file system it cannot",
                )
                return True
            if not self.deadline.left:
                return False
            time.sleep(_PAUSE)

    @staticmethod
    def _is_awaited(descriptor: int) -> bool:
        """Whether a writer waits for our lease; then it is given up, and the writer goes on."""
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK:
                return False
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            return False
        return True

    def is_half_written(self, seen: Seen) -> bool:
        """Whether an unfit text was only half written: wait for whoever writes, and look whether it is another now."""
        try:
            descriptor = os.open(self.file.name, READ, dir_fd=self.file.directory)
        except OSError:
            return True
        try:
            return self.is_quiet(descriptor) and read_all(descriptor, self.file.path) != seen.data
        finally:
            os.close(descriptor)

    def _left_beside(self, name: str, why: str) -> None:
        self.note(
            Trouble.LEFT_BESIDE,
            f"{shown(name)} stays beside {shown(self.file.path)}: {why}",
            f"it is merged once that ends; see who has it open: fuser -v {shown(self.file.path)}",
        )

    def note(self, code: Trouble, message: str, hint: str) -> None:
        """Note something that is worth a log line, once."""
        note = Refusal(code, message, hint)
        if note not in self.notes:
            self.notes.append(note)


def _is_closed(descriptor: int) -> bool:
    try:
        return beside.lease(descriptor)
    except OSError:
        return True
