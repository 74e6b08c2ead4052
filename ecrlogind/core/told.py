"""What was told already: one line for each change, and a reminder now and then of what stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ecrlogind.core.credential import SinceBoot
from ecrlogind.core.events import TROUBLES, Event


class Told:
    """Remembers when each fact was told that is not worth a line each time."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str, str, str], SinceBoot] = {}

    def news(self, events: Iterable[Event], now: SinceBoot) -> Iterator[Event]:
        """Yield those of *events* that are worth a line *now*, and remember them."""
        for event in events:
            told_at = self._at.get(event.key)
            if event.again_after is None or told_at is None or now - told_at >= event.again_after:
                yield event
                if event.again_after is not None:
                    self._at[event.key] = now

    def troubles(self, events: Iterable[Event], now: SinceBoot) -> Iterator[Event]:
        """Yield the news in what is wrong now, which is all of *events*: what has passed is news when it comes back."""
        standing = tuple(events)
        keys = {event.key for event in standing}
        self._at = {key: at for key, at in self._at.items() if key[0] not in TROUBLES or key in keys}
        yield from self.news(standing, now)

    def forget(self, name: str, of: str) -> None:
        """Forget that *name* was told of a credential or destination: what it told of has passed."""
        self._at = {key: at for key, at in self._at.items() if key[0] != name or of not in key[1:3]}
