"""The status document on disk: what every reader on the host sees of us."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecrlogind.keeper.files import write_whole


class StatusFile:
    """`status.json` of a state directory, readable by everybody, without secrets."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "status.json"

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the document."""
        write_whole(self._path, json.dumps(document, indent=2).encode() + b"\n", 0o644)
