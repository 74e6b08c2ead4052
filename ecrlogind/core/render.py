"""The settings in effect, written as TOML that can be fed back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from ecrlogind.core.duration import format_duration
from ecrlogind.core.mistake import redact
from ecrlogind.core.settings import Destination, RegistryEntry, Settings
from ecrlogind.core.wire import SELF


def to_toml(settings: Settings) -> str:
    """Return *settings*, defaults and all, as TOML; a password in the proxy's URL is replaced."""
    proxy = settings.aws.proxy
    return _document(settings, redact(proxy) if proxy else None)


def digest(settings: Settings) -> str:
    """Return what tells these settings from others: equal for equal ones, and it gives no secret away."""
    return hashlib.sha256(_document(settings, settings.aws.proxy).encode()).hexdigest()


def _document(settings: Settings, proxy: str | None) -> str:
    aws = settings.aws
    lines = [
        "registries = [",
        *(f"  {_registry(entry, aws.profile)},  # as {entry.identity.label}" for entry in settings.registries),
        "]",
        "destinations = [",
        *(f"  {_inline(_destination(destination))}," for destination in settings.destinations),
        "]",
        f"log = {_value(settings.log)}",
        *_section("boot", {"ready": settings.boot.ready, "timeout": settings.boot.timeout}),
        *_section("renew", {"at": settings.renew.at, "jitter": settings.renew.jitter, "floor": settings.renew.floor}),
        *_section(
            "aws",
            {
                "profile": aws.profile,
                "config_file": aws.config_file,
                "credentials_file": aws.credentials_file,
                "ca_bundle": aws.ca_bundle,
                "proxy": proxy,
                "deadline": aws.deadline,
                "imds": aws.imds,
                "use_fips": aws.use_fips,
                "use_dualstack": aws.use_dualstack,
            },
        ),
        *(_section("aws.endpoints", dict(sorted(aws.endpoints.items()))) if aws.endpoints else ()),
        *_section("check", {"registry": settings.check.registry, "every": settings.check.every}),
        *(_section("metrics", {"textfile": settings.metrics_textfile}) if settings.metrics_textfile else ()),
        *_section("stop", {"logout": settings.logout_on_stop}),
    ]
    return "\n".join(lines) + "\n"


def _registry(entry: RegistryEntry, profile: str | None) -> str:
    identity = entry.identity
    more: dict[str, object] = {
        "name": entry.name if entry.named else None,
        "profile": identity.profile if identity.profile != profile else None,
        "role_arn": (identity.roles[0] if len(identity.roles) == 1 else identity.roles) or None,
        "external_id": identity.external_id,
        "session_name": identity.session_name,
        "duration": identity.duration,
        "scope": identity.scope,
        "also": entry.also or None,
        "images": entry.images or None,
    }
    place = _place(entry)
    if len(place) == 1 and not any(value is not None for value in more.values()):
        return _value(place["host"])
    return _inline({**place, **more})


def _place(entry: RegistryEntry) -> dict[str, object]:
    if entry.alias is None:
        if entry.account == entry.region == SELF:
            return {"host": SELF}
        if known := entry.registries(None):
            return {"host": known[0].host}
    return {"host": entry.alias, "account": entry.account, "region": entry.region}


def _destination(destination: Destination) -> dict[str, object]:
    return {
        "user": destination.user,
        "path": destination.path,
        "owner": destination.owner,
        "group": destination.group,
        "mode": None if destination.mode is None else f"{destination.mode:04o}",
        "registries": destination.registries,
        "via": destination.via,
        "on_shadow": destination.on_shadow,
        "on_login": destination.on_login,
    }


def _section(name: str, keys: Mapping[str, object]) -> Iterator[str]:
    yield ""
    yield f"[{name}]"
    for key, value in keys.items():
        if value is not None:
            yield f"{key} = {_value(value)}"


def _inline(keys: Mapping[str, object]) -> str:
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in keys.items() if value is not None) + " }"


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case timedelta():
            return _value(format_duration(value))
        case tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return '"' + re.sub(r'["\\]', r"\\\g<0>", str(value)) + '"'
