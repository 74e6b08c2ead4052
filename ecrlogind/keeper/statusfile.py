"""The status document on disk: what every reader on the host sees of us."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ecrlogind.keeper.files import write_whole


class StatusFile:
    """`status.json` of a state directory, readable by everybody, without secrets.

    *troubled* is told what keeps it from being written: a full disk costs the document, not the logins.
    """

    def __init__(self, directory: Path, troubled: Callable[[OSError], None]) -> None:
        self._path = directory / "status.json"
        self._troubled = troubled

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the document."""
        try:
            write_whole(self._path, _text(document).encode(), 0o644)
        except OSError as error:
            self._troubled(error)


def _text(document: Mapping[str, Any]) -> str:
    """Return *document* as JSON with a row a line: people and the helper's shell read it so, and it is soon written."""
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_lines(value)}" for key, value in document.items()) + "\n}\n"


def _lines(value: object) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in value) + "\n  ]"
