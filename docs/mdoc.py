"""Sentences as mdoc(7) has them: each begins a line; what stands in `backquotes` is quoted, to be typed as it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

_SENTENCE_END = re.compile(r"(?<=[.?!]) +(?=[A-Z`])")
_LITERAL = re.compile(r"`([^`]+)`")
_WIDTH = 78


def paragraph(sentences: str) -> Iterator[str]:
    """Yield the lines of a paragraph, none of which roff takes for a request."""
    for sentence in _SENTENCE_END.split(" ".join(sentences.split())):
        words = _LITERAL.sub(_quoted, sentence.replace("\\", r"\e"))
        for line in textwrap.wrap(words, _WIDTH, break_long_words=False, break_on_hyphens=False):
            yield rf"\&{line}" if line[0] in ".'" else line


def _quoted(literal: re.Match[str]) -> str:
    # A bare hyphen may be set as one that no shell knows.
    words = literal[1].replace("-", r"\-")
    return rf"\(oq{words}\(cq"


def item(head: str, sentences: str) -> Iterator[str]:
    """Yield an item of a tagged list; *head* is what stands behind .It, as macros."""
    yield f".It {head}"
    yield from paragraph(sentences)


def listing(items: Iterable[str]) -> Iterator[str]:
    """Yield a tagged list of *items*."""
    yield ".Bl -tag -width Ds"
    yield from items
    yield ".El"
