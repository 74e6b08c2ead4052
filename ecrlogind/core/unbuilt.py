"""What the settings can say already and nothing acts on yet: `check` warns of it. A row goes as its work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ecrlogind.core.settings import AwsSettings, Check, Destination, Problem, RegistryEntry, Settings, Via

_REGISTRY: Mapping[str, Callable[[RegistryEntry], bool]] = {
    "role_arn as a list": lambda entry: len(entry.identity.roles) > 1,
    "scope": lambda entry: entry.identity.scope is not None,
    "images": lambda entry: bool(entry.images),
    "also": lambda entry: bool(entry.also),
}
_DESTINATION: Mapping[str, Callable[[Destination], bool]] = {
    "via": lambda destination: destination.via is not Via.FILE,
    "on_shadow": lambda destination: destination.on_shadow != "report",
}
_AWS = ("profile", "config_file", "credentials_file", "proxy", "imds", "use_fips", "use_dualstack")


def warnings(settings: Settings) -> tuple[Problem, ...]:
    """Return a problem, of no file, for each key that was set and has no effect yet."""
    return tuple(
        Problem("", key, "has no effect yet", "take it out, or wait for the version that knows it")
        for key in dict.fromkeys(_unbuilt(settings))
    )


def _unbuilt(settings: Settings) -> Iterator[str]:
    for key, is_set in _REGISTRY.items():
        yield from (f"registries, {entry.name}: {key}" for entry in settings.registries if is_set(entry))
    for key, is_used in _DESTINATION.items():
        yield from (f"destinations, {each.label}: {key}" for each in settings.destinations if is_used(each))
    # An entry without a profile of its own has [aws] profile.
    own = (e for e in settings.registries if e.identity.profile != settings.aws.profile)
    yield from (f"registries, {entry.name}: profile" for entry in own)
    for key in _AWS:
        if getattr(settings.aws, key) != getattr(AwsSettings(), key):
            yield f"aws.{key}"
    if settings.check != Check():
        yield "check"
    if settings.metrics_textfile is not None:
        yield "metrics.textfile"
