"""What a keeper left for readers: the status document. Light: `status` and `wait` start with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Published(NamedTuple):
    """The *document*, and whether the keeper that wrote it is *running*. *error* is why there is none."""

    document: dict[str, Any] | None = None
    running: bool = False
    error: str = ""


def read(state: Path) -> Published:
    """Read what stands in the state directory."""
    try:
        document = json.loads((state / "status.json").read_bytes())
    except OSError as error:
        return Published(error=os.strerror(error.errno or 0))
    except ValueError:
        return Published(error="it is not JSON")
    if not isinstance(document, dict) or document.get("version") != 1:
        return Published(error="it is of another version")
    return Published(document, _lives(document["pid"]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
