"""What the settings can say already and nothing acts on yet: `check` warns of it. A line goes as its work is done."""

from __future__ import annotations

from collections.abc import Iterator

from ecrlogind.core.settings import Problem, Settings, Via


def warnings(settings: Settings) -> tuple[Problem, ...]:
    """Return a problem, of no file, for each key that was set and has no effect yet."""
    return tuple(
        Problem("", key, "has no effect yet", "take it out, or wait for the version that knows it")
        for key in dict.fromkeys(_unbuilt(settings))
    )


def _unbuilt(settings: Settings) -> Iterator[str]:
    yield from (f"destinations, {each.label}: via" for each in settings.destinations if each.via is Via.DOCKER_LOGIN)
