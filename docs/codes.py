"""Write what explains events and failures: systemd/ecrlogind.catalog and docs/codes.md, both from docs/codes.toml."""

import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecrlogind.core.events import message_id

REPO = Path(__file__).parents[1]
SOURCE = REPO / "docs" / "codes.toml"
CATALOG = REPO / "systemd" / "ecrlogind.catalog"
PAGE = REPO / "docs" / "codes.md"
WIDTH = 78

Table = Mapping[str, Any]


def explained() -> Iterator[tuple[str, str, Table, Table]]:
    """Yield (event, code, the event's table, the code's table) of all that can be told; without a code both are ""/{}.

    Raises KeyError if an event names a family of codes that is not there.
    """
    source = tomllib.loads(SOURCE.read_text())
    for name, event in source["events"].items():
        families = event.get("codes", ())
        if not families:
            yield name, "", event, {}
        for family in families:
            for code, text in source["codes"][family].items():
                yield name, code, event, text


def catalog() -> str:
    """Return the message catalog, as journalctl(1) -x shows it; see https://systemd.io/CATALOG."""
    entries = [_entry(*each) for each in explained()]
    head = "# Made by docs/codes.py from docs/codes.toml: change it there.\n\n"
    return head + "\n".join(entries)


def _entry(name: str, code: str, event: Table, text: Table) -> str:
    subject = event["subject"] + (f": {code}" if code else "")
    body = [*event["text"].strip().splitlines()]
    if text:
        body += [text["means"], f"What to look at: {text['look']}", f"What to do: {text['do']}"]
    # An empty line would be fine within, but a line that begins with "-- " ends an entry: wrapped text has none.
    wrapped = "\n\n".join(textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False) for line in body)
    return f"-- {message_id(name, code)}\nSubject: {subject}\nDefined-By: ecrlogind\n\n{wrapped}\n"


def page() -> str:
    """Return the same as a page."""
    source = tomllib.loads(SOURCE.read_text())
    lines = ["# Events and failure codes", ""]
    lines += ["<!-- Made by docs/codes.py from docs/codes.toml: change it there. -->", ""]
    lines += ["`journalctl -x -u ecrlogind` shows these texts beside each entry. An entry's fields are", ""]
    lines += ["- `ECRLOGIND_EVENT`: the event, `ECRLOGIND_CODE`: the code, where there is one"]
    lines += ["- `ECRLOGIND_REGISTRY`: the host name, once for each registry that it is about"]
    lines += ["- `ECRLOGIND_DESTINATION`: the file, or `user:NAME`", "- `ECRLOGIND_HINT`: what to do, in one line"]
    lines += ["- `MESSAGE_ID`: one for each event and code", "", "## Events", ""]
    for name, event in source["events"].items():
        lines += [f"### `{name}`: {event['subject'][:1].lower()}{event['subject'][1:]}", ""]
        lines += [part for line in event["text"].strip().splitlines() for part in (line, "")]
        if families := event.get("codes"):
            lines += [f"Codes: {', '.join(f'[{family}](#{family})' for family in families)}", ""]
    lines += ["## Codes", ""]
    for family, codes in source["codes"].items():
        lines += [f"### {family}", ""]
        for code, text in codes.items():
            lines += [f"#### `{code}`", "", text["means"], ""]
            lines += [f"- What to look at: {text['look']}", f"- What to do: {text['do']}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    CATALOG.write_text(catalog())
    PAGE.write_text(page())
