"""The registry, asked for an image's manifest with each login that a client would send, by the way that client goes."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from ecrlogind.core.registry import PUBLIC_DUAL_STACK_HOST, PUBLIC_HOST, Registry
from ecrlogind.core.settings import Settings
from ecrlogind.core.wire import Aws, Probe
from ecrlogind.doctor.clients.trail import Login
from ecrlogind.doctor.evidence import Asked, Dockerd, Evidence
from ecrlogind.doctor.image import Image
from ecrlogind.doctor.trails import trails

_PATIENCE = timedelta(seconds=20)
# For these it is dockerd that goes to the registry, with the login that they hand it.
_BY_DOCKERD = ("docker", "gitlab-runner")


def ask(evidence: Evidence, aws: Aws, environment: Mapping[str, str]) -> Iterator[Asked]:
    """Yield an answer per login and way; *environment* has the proxies of whoever asks."""
    image = evidence.image
    if image is None or not _is_ours(image.host, evidence.settings):
        return
    here = _Way(aws, {key: value for key, value in environment.items() if key.lower().endswith("_proxy")})
    by_dockerd = _way_of_dockerd(evidence, image, aws)
    asked: dict[tuple[str, str, bool], tuple[list[str], Login, _Way]] = {}
    for trail in trails(evidence):
        if trail.login is not None:
            way = by_dockerd if by_dockerd is not None and trail.client in _BY_DOCKERD else here
            key = (trail.login.username, trail.login.password.reveal(), way is here)
            asked.setdefault(key, ([], trail.login, way))[0].append(trail.client)
    for clients, login, way in asked.values():
        answer = way.ask(clients, login, image)
        if not answer.was_reached and way is not here:
            answer = replace(answer, reached_here=here.ask(clients, login, image).was_reached)
        yield answer


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to a registry: *aws* has its CA bundle, beside which *more_ca* is trusted; *proxies* are by variable."""

    aws: Aws
    proxies: Mapping[str, str]
    more_ca: str = ""

    def ask(self, clients: Iterable[str], login: Login, image: Image) -> Asked:
        from ecrlogind.issuer.probe import pull

        is_public = image.host in (PUBLIC_HOST, PUBLIC_DUAL_STACK_HOST)
        probe = Probe(image.host, login.username, login.password, is_public, (image.name,))
        found = pull(probe, self.aws, self.proxies, _PATIENCE, self.more_ca)
        return Asked(
            tuple(clients), login.username, login.place, login.key, found.digest, found.refusal, found.no_layers
        )


def _way_of_dockerd(evidence: Evidence, image: Image, aws: Aws) -> _Way | None:
    """Return dockerd's way: its own proxies; trust in the system's CAs, and in those for this very registry."""
    dockerd = evidence.dockerd
    if dockerd is None:
        return None
    own = "\n".join(seen.text or "" for seen in evidence.under(f"/etc/docker/certs.d/{image.host}/"))
    ca = aws.ca if _is_insecure(image.host, dockerd) else None
    return _Way(replace(aws, proxy=None, ca=ca), dockerd.proxies, own)


def _is_insecure(host: str, dockerd: Dockerd) -> bool:
    """Whether dockerd does not look at the certificate of *host*: by its name, or by where it is."""
    if host in dockerd.insecure:
        return True
    found = set()
    with suppress(OSError, UnicodeError):
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None)}
    for network in dockerd.insecure:
        with suppress(ValueError):
            if any(ipaddress.ip_address(each) in ipaddress.ip_network(network) for each in found):
                return True
    return False


def _is_ours(host: str, settings: Settings | None) -> bool:
    """Whether *host* is ours to ask: an ECR registry, or an alias of one. Nobody else is sent a login by us."""
    aliases = {entry.alias for entry in settings.registries} if settings else set()
    return host in aliases or Registry.find(host) is not None
