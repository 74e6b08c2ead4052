"""The image's host: whether it names a registry, one of ours, and as we spell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ecrlogind.core.mistake import Mistake
from ecrlogind.core.registry import PUBLIC_HOST, Registry, is_host_name
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding

_LITERAL = "clients compare the host letter by letter: a login for another spelling is none"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Compare the host with those that the keeper has."""
    image = evidence.image
    if image is None:
        return
    host, known = image.host, _known(evidence)
    if host in known:
        yield from _for_this_user(evidence, host)
        return
    bare = host.lower().partition(":")[0].rstrip(".")
    if bare != host and (bare in known or _registry(bare)):
        what = f"the image is written with {host}, the registry is called {bare}"
        yield Finding("other_spelling", what, _LITERAL, f"write the image as {bare}/{image.name}")
    elif (registry := _registry(host)) is not None:
        yield _other_form(evidence, registry, known) or Finding(
            "not_configured",
            f"{host} is none of the registries in {evidence.config}",
            "nobody logs in to it on this host",
            f'add "{host}" to registries in {evidence.config}, then: systemctl reload ecrlogind',
        )
    elif "amazonaws" in host or ".ecr" in host or "dkr" in host:
        yield Finding(
            "wrong_partition" if is_host_name(bare) else "bad_host",
            f"{host} is no registry of AWS's",
            "there is no such host, or it is somebody else's",
            _advice(host),
        )


def _known(evidence: Evidence) -> set[str]:
    hosts = {row["host"] for row in (*evidence.keeper.registries, *evidence.keeper.logins) if row["host"]}
    for entry in evidence.settings.registries if evidence.settings else ():
        hosts |= {registry.host for registry in entry.registries(None)}
    return hosts


def _other_form(evidence: Evidence, registry: Registry, known: set[str]) -> Finding | None:
    """Return that the registry is configured under another of its names: FIPS, dual-stack, another region."""
    for fips in (False, True):
        for dual in (False, True):
            if registry.public and fips:
                continue
            other = replace(registry, fips=fips, dual_stack=dual).host
            if other in known:
                also = "fips" if registry.fips else "dual-stack"
                return Finding(
                    "other_spelling",
                    f"{registry.host} is another name of {other}, for which there is a login",
                    _LITERAL,
                    f'add also = ["{also}"] to that registry in {evidence.config}, or write the image with {other}'
                    if (registry.fips or registry.dual_stack) and not registry.public
                    else f'add "{registry.host}" to registries in {evidence.config}, or write the image with {other}',
                )
    for host in sorted(known):
        there = _registry(host)
        if there and there.account == registry.account and not there.public and there.region != registry.region:
            return Finding(
                "other_region",
                f"there is a login for {host}, which is in {there.region}; the image is in {registry.region}",
                "a login is good in its own region only",
                f'add "{registry.host}" to registries in {evidence.config}, then: systemctl reload ecrlogind',
            )
    return None


def _for_this_user(evidence: Evidence, host: str) -> Iterator[Finding]:
    """Say so where the registry is configured, but not for the user whom this is about."""
    logins = [row for row in evidence.keeper.logins if row["host"] == host]
    if not logins or any(_is_for(row["destination"], evidence) for row in logins):
        return
    places = ", ".join(dict.fromkeys(row["destination"] for row in logins))
    name = evidence.user.name
    yield Finding(
        "not_for_this_user",
        f"{host} is logged in to for {places}, not for {name}",
        "each user's clients read that user's own file, root's too",
        f'add {{ user = "{name}" }} to destinations in {evidence.config}, then: systemctl reload ecrlogind',
    )


def _is_for(destination: str, evidence: Evidence) -> bool:
    user = evidence.user
    return destination in (f"user:{user.name}", user.docker_file, user.own_file)


def _registry(host: str) -> Registry | None:
    try:
        return Registry.parse(host)
    except Mistake:
        return None


def _advice(host: str) -> str:
    try:
        Registry.parse(host)
    except Mistake as mistake:
        return mistake.hint
    return f"those are called 123456789012.dkr.ecr.eu-west-1.amazonaws.com, or {PUBLIC_HOST}"
