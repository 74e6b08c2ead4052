"""Libraries without what they import and we never use."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # typing is slow to load, and the issuer's first steps need nothing of it
if TYPE_CHECKING:
    from typing import Any


class _Understudy(ModuleType):
    """Has what importers take; whoever asks for more gets it from the real module, which is loaded then."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def understudied(modules: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Let what is imported inside find understudies of *modules*, where these are not loaded already; then end that.

    *modules* has, by module, what importers take from it: all besides is the real module's.
    """
    understudies = [_Understudy(name) for name in modules if name not in sys.modules]
    for each in understudies:
        vars(each).update(modules[each.__name__])
        sys.modules[each.__name__] = each
    try:
        yield
    finally:
        for each in understudies:
            if sys.modules.get(each.__name__) is each:
                del sys.modules[each.__name__]
