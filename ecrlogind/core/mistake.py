"""What people write that cannot be meant so: one line of what, one line of what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST_QUOTE = 120

# A URL's user name and password. Whoever pastes a login into the wrong key shall not find it in the journal.
_USERINFO = re.compile(r"//[^/\s]*@")


class Mistake(ValueError):  # noqa: N818  # whose: the writer's
    """A value that is not what it has to be. *message* says so, *hint* what to write; both are printable ASCII.

    *key* is the key that it is about, where the value is a table.
    """

    def __init__(self, message: str, hint: str, key: str = "") -> None:
        self.message = one_line(message)
        self.hint = one_line(hint)
        self.key = key
        super().__init__(f"{self.message}: {self.hint}")


def quote(value: str) -> str:
    """Return *value* as it may stand in a message: in quotes, printable ASCII, short, no password."""
    text = ascii(_USERINFO.sub("//***@", value)[: LONGEST_QUOTE + 1])
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def one_line(sentence: str) -> str:
    """Return *sentence* as printable ASCII without a URL's password, whatever was put into it."""
    bare = _USERINFO.sub("//***@", sentence).encode("ascii", "backslashreplace").decode()
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in bare)


def redact(url: str) -> str:
    """Return *url* with three asterisks for a password that is in it."""
    return re.sub(r"(//[^/\s:]*):[^/\s]*@", r"\1:***@", url)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of *known* that somebody who wrote *word* may have meant."""
    from difflib import get_close_matches

    by_folded = {each.lower().replace("_", "-"): each for each in known}
    found = get_close_matches(word[:LONGEST_QUOTE].lower().replace("_", "-"), by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None


def one_of(known: Iterable[str]) -> str:
    """Return *known* as a list for a sentence."""
    return ", ".join(known)


def is_plain(text: str) -> bool:
    """Whether *text* is free of control characters, line ends, and characters that hide or turn what follows."""
    if text.isascii():
        return text.isprintable()
    import unicodedata

    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text)
