"""The image's host: whether it names a registry, one of ours, and as we spell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ecrlogind.core.document import OUR_HELPER
from ecrlogind.core.mistake import Mistake
from ecrlogind.core.registry import Registry, is_host_name
from ecrlogind.doctor.advice import add_destination, add_registry
from ecrlogind.doctor.evidence import Evidence
from ecrlogind.doctor.finding import Finding
from ecrlogind.doctor.image import Image

_LITERAL = "clients compare the host letter by letter: a login for another spelling is none"


def check(evidence: Evidence) -> Iterator[Finding]:
    """Compare the host with those that the keeper has."""
    image = evidence.image
    if image is None:
        return
    host, known = image.host, _known(evidence)
    if not known and evidence.problems:
        return  # the settings come first: what they name is not known
    if host in known:
        yield from _for_this_user(evidence, host)
        return
    bare = host.lower().partition(":")[0].rstrip(".")
    if bare != host and (bare in known or Registry.find(bare)):
        what = f"the image is written with {host}, the registry is called {bare}"
        yield Finding("other_spelling", what, _LITERAL, f"write the image as {bare}/{image.name}")
    elif (registry := Registry.find(host)) is not None:
        yield _other_form(evidence, image, registry, known) or Finding(
            "not_configured",
            f"{host} is none of the registries in {evidence.config}",
            "nobody logs in to it on this host",
            add_registry(host, evidence),
        )
    elif "amazonaws" in host or ".ecr" in host or "dkr" in host:
        yield Finding(
            "wrong_partition" if is_host_name(bare) else "bad_host",
            f"{host} is no registry of AWS's",
            "there is no such host, or it is somebody else's",
            _what_instead(host),
        )


def _known(evidence: Evidence) -> set[str]:
    hosts = {row["host"] for row in (*evidence.keeper.registries, *evidence.keeper.logins) if row["host"]}
    for entry in evidence.settings.registries if evidence.settings else ():
        hosts |= {registry.host for registry in entry.registries(None)}
    return hosts


def _other_form(evidence: Evidence, image: Image, registry: Registry, known: set[str]) -> Finding | None:
    """Return that the registry is configured under another of its names: FIPS, dual-stack, another region."""
    for fips in (False, True):
        for dual in (False, True):
            if registry.public and fips:
                continue
            other = replace(registry, fips=fips, dual_stack=dual).host
            if other in known:
                return Finding(
                    "other_spelling",
                    f"{registry.host} is another name of {other}, for which there is a login",
                    _LITERAL,
                    f"write the image as {other}/{image.name}; or {add_registry(registry.host, evidence)}",
                )
    for host in sorted(known):
        there = Registry.find(host)
        if there and there.account == registry.account and not there.public and there.region != registry.region:
            return Finding(
                "other_region",
                f"there is a login for {host}, which is in {there.region}; the image is in {registry.region}",
                "a login is good in its own region only",
                add_registry(registry.host, evidence),
            )
    return None


def _for_this_user(evidence: Evidence, host: str) -> Iterator[Finding]:
    """Say so where the registry is configured, but not for the user whom this is about."""
    logins = [row for row in evidence.keeper.logins if row["host"] == host]
    if not logins or any(_is_for(row["destination"], evidence) for row in logins):
        return
    if any(said.helper == OUR_HELPER for said in evidence.user.helpers):
        return  # whose answer is another check's
    places = ", ".join(dict.fromkeys(row["destination"] for row in logins))
    name = evidence.user.name
    yield Finding(
        "not_for_this_user",
        f"{host} is logged in to for {places}, not for {name}",
        "each user's clients read that user's own file, root's too",
        add_destination(name, evidence),
    )


def _is_for(destination: str, evidence: Evidence) -> bool:
    user = evidence.user
    return destination in (f"user:{user.name}", user.docker_file, user.own_file)


def _what_instead(host: str) -> str:
    try:
        return Registry.parse(host).host
    except Mistake as mistake:
        return mistake.hint
