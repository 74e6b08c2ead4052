"""The two lists of the settings: what one registry and one destination may say, and what fits together in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ecrlogind.core import roles, values
from ecrlogind.core.identity import Identity
from ecrlogind.core.mistake import Mistake, nearest
from ecrlogind.core.registry import PUBLIC_HOST, Registry, check_account, is_host_name, partition_of
from ecrlogind.core.settings import Destination, RegistryEntry, Via
from ecrlogind.core.wire import SELF, Instance

ALSO = ("fips", "dual-stack")
LONGEST_CHAINED = timedelta(hours=1)

# Stands for an instance that is not known yet: no real region or account can be equal to it.
SOME_INSTANCE = Instance("900000000009", "us-self-0", "i-0")


def account_id(value: object) -> str:
    """Read an account id, or `self`."""
    account = values.text(value)
    return account if account == SELF else check_account(account)


def region_name(value: object) -> str:
    """Read a region's name, or `self`."""
    region = values.text(value)
    if region != SELF:
        partition_of(region)
    return region


REGISTRY_KEYS: Mapping[str, values.Convert] = {
    "host": values.text,
    "account": account_id,
    "region": region_name,
    "name": values.text,
    "profile": values.text,
    "role_arn": roles.role_arns,
    "external_id": roles.external_id,
    "session_name": roles.session_name,
    # sts:AssumeRole's own limits; a chained role's is an hour.
    "duration": values.Span(timedelta(minutes=15), timedelta(hours=12)),
    "scope": values.Word(("pull",)),
    "images": values.Items(values.image, '["base:latest"]'),
    "also": values.Items(values.Word(ALSO), '["fips", "dual-stack"]'),
}

DESTINATION_KEYS: Mapping[str, values.Convert] = {
    "user": values.user,
    "path": values.absolute_path,
    "owner": values.user,
    "group": values.group,
    "mode": values.mode,
    "registries": values.Items(values.text, '["self"]'),
    "via": values.Choice(Via),
    "on_shadow": values.Word(("report", "fix")),
    "on_login": values.Word(("keep", "replace")),
}

NEEDS_ROLE = ("external_id", "session_name", "duration", "scope")
_OWN_SETTINGS = ("owner", "group", "mode", "via", "on_shadow", "on_login")


def registry_mistakes(written: Collection[str], read: Mapping[str, Any]) -> Iterator[Mistake]:
    """Tell what does not fit together; *written* are the keys there, *read* holds those right by themselves."""
    if "role_arn" not in written:
        for key in NEEDS_ROLE:
            if key in written:
                yield Mistake("has no effect without `role_arn`", "add the role to assume, or take it out", key)
    if len(read.get("role_arn", ())) > 1 and read.get("duration", LONGEST_CHAINED) > LONGEST_CHAINED:
        yield Mistake("is longer than AWS lets a chained role live", 'write at most "1h"', "duration")
    if all(key in read for key in ("host", "account", "region") if key in written):
        try:
            place = _place(read)
        except Mistake as mistake:
            yield mistake
        else:
            if place.account is None and "fips" in read.get("also", ()):
                yield Mistake("asks for FIPS, which ECR Public does not have", 'take "fips" out', "also")


def registry_entry(read: Mapping[str, Any], profile: str | None) -> RegistryEntry:
    """Make an entry of keys that `registry_mistakes` finds nothing wrong with.

    *profile* is `[aws] profile`, for an entry that names none.
    """
    return replace(
        _place(read),
        **{key: read[key] for key in ("name", "images") if key in read},
        named="name" in read,
        also=tuple(each for each in ALSO if each in read.get("also", ())),
        identity=Identity(
            profile=read.get("profile", profile),
            roles=read.get("role_arn", ()),
            **{key: read[key] for key in NEEDS_ROLE if key in read},
        ),
    )


def _place(read: Mapping[str, Any]) -> RegistryEntry:
    """Return an entry that says which registry is meant, and nothing else; raise Mistake."""
    host, account, region = (read.get(key) for key in ("host", "account", "region"))
    if host is None and account is None and region is None:
        raise Mistake(
            "names no registry", f'write {{ host = "{PUBLIC_HOST}" }}, or {{ account = "...", region = "self" }}'
        )
    if host is not None and account is None and region is None:
        return RegistryEntry(SELF, SELF, SELF) if host == SELF else _entry(_parse(host))
    if account is None:
        raise Mistake("is missing", 'add account = "123456789012", or "self" for the instance\'s own', "account")
    if region is None:
        raise Mistake("is missing", 'add region = "eu-west-1", or "self" for the instance\'s own', "region")
    known = RegistryEntry("", account, region, alias=host)
    try:
        # Checks the alias; without one the registry tells its host.
        [registry] = known.registries(SOME_INSTANCE)
    except Mistake as mistake:
        mistake.key = "host"
        raise
    if account == region == SELF:
        name = host or SELF
    else:
        name = host or (f"{account} {region}" if known.needs_instance else registry.host)
    return replace(known, name=name)


def _entry(registry: Registry) -> RegistryEntry:
    return RegistryEntry(
        registry.host, registry.account, registry.region, fips=registry.fips, dual_stack=registry.dual_stack
    )


def _parse(host: str) -> Registry:
    try:
        return Registry.parse(host)
    except Mistake as mistake:
        hint = mistake.hint
        if nearest(host, (SELF,)):
            hint = f'did you mean "{SELF}"?'
        elif is_host_name(host) and hint.startswith("those are"):
            hint += "; an alias needs `account` and `region` beside its `host`"
        raise Mistake(mistake.message, hint, "host") from None


def destination_mistakes(written: Collection[str], read: Mapping[str, Any]) -> Iterator[Mistake]:
    """Tell what does not fit together; *written* are the keys there, *read* holds those right by themselves."""
    if "user" in written and "path" in written:
        yield Mistake("names a user and a path", "write one of them: a user's file is ~/.docker/config.json")
    elif "user" not in written and "path" not in written:
        yield Mistake("names neither a user nor a path", 'write for example { user = "root" }')
    elif "user" in written:
        for key in ("owner", "group"):
            if key in written:
                yield Mistake("belongs to a `path` only", "take it out: a user's file is that user's", key)
    elif read.get("via") in (Via.DOCKER_LOGIN, Via.NONE):
        yield Mistake(f'"{read["via"]}" is for a user', "write { user = ... } instead of a path, or take it out", "via")


def merged(one: Destination, other: Destination, unnamed: tuple[str, ...]) -> Destination:
    """Return one destination for two entries about the same file; raise Mistake if they differ in how it is kept.

    *unnamed* are the names of the registries that go to a destination without a list of its own.
    """
    for key in _OWN_SETTINGS:
        if getattr(one, key) != getattr(other, key):
            raise Mistake(
                f"{one.label} is there twice, with another `{key}`", "one file is kept one way: make it one entry", key
            )
    if one.registries == other.registries:
        return one
    names = [unnamed if each.registries is None else each.registries for each in (one, other)]
    return replace(one, registries=tuple(dict.fromkeys(names[0] + names[1])))
