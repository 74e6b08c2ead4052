"""Colour: on a terminal only, and not where NO_COLOR asks for none."""

from __future__ import annotations

import os
import sys

from ecrlogind.core.table import Paint, coloured, plain


def paint() -> Paint:
    """Return what colours a text for stdout by the state that it is about."""
    return coloured if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else plain
