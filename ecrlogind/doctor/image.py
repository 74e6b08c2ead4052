"""The name of an image, as clients take it apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecrlogind.core.mistake import Mistake, quote

_NAME = re.compile(
    r"(?:(?P<host>(?=[^/]*[.:])[^/]+|localhost)/)?(?P<repository>[a-z0-9._/-]+)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,128}))?"
)


@dataclass(frozen=True, slots=True)
class Image:
    """One image. *host* is as it was written, with its port if there is one."""

    host: str
    repository: str
    reference: str

    @property
    def name(self) -> str:
        """Repository and reference, as a registry's `images` setting writes them."""
        return f"{self.repository}{'@' if ':' in self.reference else ':'}{self.reference}"

    @classmethod
    def parse(cls, text: str) -> Image:
        """Read the name of an image; raise Mistake. Without a host it is Docker Hub's."""
        found = _NAME.fullmatch(text)
        if found is None:
            what = "is not the name of an image"
            hint = "write it as in `docker pull`: HOST/REPOSITORY:TAG; repositories are in lower case"
            raise Mistake(f"{quote(text)} {what}", hint)
        return cls(found["host"] or "docker.io", found["repository"], found["digest"] or found["tag"] or "latest")
