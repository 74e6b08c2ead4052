"""Files that the AWS config file names: their text came with the question, since this process may read none."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFIG = "AWS_CONFIG_FILE"
_NAMED = re.compile(r"^(\s*web_identity_token_file\s*=\s*)(/.*?)(\s*)$", re.MULTILINE | re.IGNORECASE)


def laid_out(files: Mapping[str, str]) -> dict[str, str]:
    """Return *files* without those that go by a path; the config names where in memory each of these lies now."""
    places = {path: _in_memory(text) for path, text in files.items() if path.startswith("/")}
    left = {name: text for name, text in files.items() if name not in places}
    if places and _CONFIG in left:
        left[_CONFIG] = _NAMED.sub(lambda found: found[1] + places.get(found[2], found[2]) + found[3], left[_CONFIG])
    return left


def _in_memory(text: str) -> str:
    # Open for as long as the process lives, which is one question.
    descriptor = os.memfd_create("token")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode(errors="surrogateescape"))
    return f"/proc/self/fd/{descriptor}"
