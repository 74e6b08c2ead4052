"""What somebody who gets an error from the TOML parser most likely wrote, and what would be right."""

from __future__ import annotations

import re

from ecrlogind.core.mistake import Mistake

_AT = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)

# Words that other languages have for a value of ours, and barewords.
_WORD = re.compile(r"[A-Za-z][\w./:@-]*", re.ASCII)


def explain(text: str, error: str) -> Mistake:
    """Return what is wrong with *text*, for which tomllib gave *error*; line and column stay in the message."""
    found = _AT.match(error)
    if not found and "digits" in error:
        # Python's own guard against numbers that take long to read.
        return Mistake("contains a number of thousands of digits", "take it out")
    if not found:
        return Mistake(error, "mend the TOML there")
    lines = text.splitlines() or [""]
    if found["line"] is None:
        return Mistake(f"line {len(lines)} (the end): {found['what']}", _hint(found["what"], text, len(text)))
    number, column = int(found["line"]), int(found["column"])
    # tomllib counts lines by line feeds alone.
    offset = sum(len(line) + 1 for line in text.split("\n")[: number - 1]) + column - 1
    return Mistake(f"line {number}, column {column}: {found['what']}", _hint(found["what"], text, offset))


def _hint(what: str, text: str, at: int) -> str:
    start = text.rfind("\n", 0, at) + 1
    before, behind = text[start:at], text[at:].partition("\n")[0]
    if re.search(r"(?<![\w.])0$", before) and (digits := re.match(r"[0-9]+", behind)):
        return f'a number has no leading zero; write it in quotes: "0{digits[0]}"'
    if re.search(r"(?<![\w.])[0-9]+$", before) and re.match(r"[A-Za-z]", behind):
        return 'a duration goes in quotes, like "1min"'
    if not behind.strip() and before.count("{") > before.count("}"):
        return "a table in { } has to stand in one line: join the lines"
    if what.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return "this key or table is there twice: keep one of them"
    if what == "Invalid value":
        word = _WORD.match(behind)
        if word and word[0].lower() in ("true", "false"):
            return f"write {word[0].lower()}, in lower case"
        return "a text goes in quotes" if word else "write a text in quotes, a number, true, false, a list or a table"
    if what.startswith("Unclosed array"):
        return "close it with ], and put a comma between any two items"
    if what.startswith("Unclosed inline table"):
        return "close it with } in the same line, and put a comma between any two keys, none behind the last"
    if what.startswith(("Unterminated string", "Found invalid character", 'Expected "\'"', r"Illegal character '\n'")):
        return "close the text's quotes in the same line"
    if what.startswith("Illegal character"):
        return "take the control character out"
    if "\\" in what:
        return "double the backslash, or put the text in single quotes"
    return "mend the TOML there: key = value, one to a line"
