"""A finding: one reason why a pull would fail, or soon will."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ecrlogind.doctor.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Finding:
    """One line each: *what* is so, *why* it matters, what *to_do*. *code* is stable. All of it plain ASCII.

    Commands stand in backquotes, in the order in which whoever asks is to type them; what only root can do has sudo.
    *about* is the file or the host that it is about, where it is about one; *explains* names others that only suffer
    from it.
    """

    code: str
    what: str
    why: str
    to_do: str
    about: str = ""
    explains: tuple[str, ...] = ()


Check = Callable[[Evidence], Iterator[Finding]]
