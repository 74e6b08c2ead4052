"""Libraries without what they import and we never use.

APScheduler and structlog name asyncio at their tops, APScheduler also process pools and the metadata of all that is
installed: a fifth of the keeper's memory, for as long as the host runs, and half of the time that it starts in.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


def _no_version(distribution: str) -> str:
    raise LookupError(distribution)


# What is taken out of each while its importers load; all besides is the real module's.
_NAMED: Mapping[str, Mapping[str, Any]] = {
    "asyncio": {"iscoroutinefunction": inspect.iscoroutinefunction},
    "apscheduler.executors.pool": {"ThreadPoolExecutor": object},
    "importlib.metadata": {
        "version": _no_version,
        "PackageNotFoundError": LookupError,
        "entry_points": lambda **_: (),
    },
}


class _Understudy(ModuleType):
    """Has what importers take; whoever asks for more gets it from the real module, which is loaded then."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def lean() -> Iterator[None]:
    """Let what is imported inside find understudies, where the modules are not loaded already; then take them away."""
    understudies = [_Understudy(name) for name in _NAMED if name not in sys.modules]
    for each in understudies:
        vars(each).update(_NAMED[each.__name__])
        sys.modules[each.__name__] = each
    try:
        yield
    finally:
        for each in understudies:
            if sys.modules.get(each.__name__) is each:
                del sys.modules[each.__name__]
