"""The registry's own answer: whether it takes a credential, and whether that lets images be pulled."""

from __future__ import annotations

import base64
import http.client
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Refusal
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.proxies import Proxies
from ecrlogind.issuer.refusals import Failed, clean, failed, missing_action
from ecrlogind.issuer.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from ecrlogind.core.wire import Aws, Probe
    from ecrlogind.issuer.sockets import Reply

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)

_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{32,128}")
_CHALLENGE = re.compile(r'(realm|service|scope)="([^"]*)"')


def probe(asked: Probe, transport: Transport, endpoint: str | None = None) -> Refusal | None:
    """Return what the registry has against the credential, None when nothing.

    INVALID_KEYS: it does not take the credential. PULL_DENIED: it does, but one of the images may not be pulled. What
    else there is says nothing against the credential. *endpoint* is the URL of a server to ask in the registry's place.
    """
    registry = _Registry(asked, transport, endpoint)
    try:
        registry.log_in()
    except Failed as failure:
        return failure.refusal
    worst: Refusal | None = None
    for image in asked.images:
        try:
            registry.find(image)
        except Failed as failure:
            if failure.refusal.code == Code.PULL_DENIED:
                return failure.refusal
            worst = worst or failure.refusal
    return worst


@dataclass(frozen=True, slots=True)
class Pulled:
    """How far a pull of one image comes: to its manifest's *digest*, or to a *refusal*, or to *no_layers*."""

    digest: str | None = None
    refusal: Refusal | None = None
    no_layers: Refusal | None = None


def pull(asked: Probe, aws: Aws, environment: Mapping[str, str], patience: timedelta, more_ca: str = "") -> Pulled:
    """Go the way of a pull of the first of the images, from this very process: manifest, then where layers come from.

    Layers are not of the registry but of S3, whither it sends with a redirect: a network that lets the one through may
    well not let the other. *environment* has the proxies, *more_ca* certificates that are trusted besides.
    """
    transport = Transport(Deadline(patience), Proxies(aws.proxy, environment), aws.ca, more_ca)
    registry = _Registry(asked, transport, aws.endpoints.get("registry"))
    [image] = asked.images
    try:
        registry.log_in()
        digest, blob = registry.look_up(image)
    except Failed as failure:
        return Pulled(refusal=failure.refusal)
    try:
        if blob is not None:
            registry.reach(image, blob)
    except Failed as failure:
        if failure.refusal.code == Code.PULL_DENIED:
            return Pulled(refusal=failure.refusal)
        return Pulled(digest, no_layers=failure.refusal)
    return Pulled(digest)


class _Registry:
    def __init__(self, asked: Probe, transport: Transport, endpoint: str | None) -> None:
        self._host = asked.host
        self._public = asked.public
        self._transport = transport
        self._endpoint = endpoint
        pair = f"{asked.username}:{asked.password.reveal()}"
        self._basic = "Basic " + base64.b64encode(pair.encode()).decode()

    def log_in(self) -> None:
        """Do what ``docker login`` does; raise Failed."""
        self._expect_ok(self._get("/v2/"))

    def look_up(self, image: str) -> tuple[str | None, str | None]:
        """Return the digest of *image* and that of something it is made of; raise Failed."""
        reply = self.find(image)
        digest = reply.headers.get("docker-content-digest")
        try:
            parts = json.loads(reply.body)
            if "manifests" in parts:
                child = parts["manifests"][0]["digest"]
                parts = json.loads(self.find(f"{_split(image)[0]}@{child}").body)
            blob = parts["config"]["digest"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            blob = None
        return digest, blob if isinstance(blob, str) and _DIGEST.fullmatch(blob) else None

    def reach(self, image: str, blob: str) -> None:
        """Ask whom the registry names for *blob*, as far as its answer; raise Failed if there is none."""
        reply = self._get(f"/v2/{quote(_split(image)[0])}/blobs/{blob}", Range="bytes=0-0")
        self._expect_allowed(reply, image)
        target = urlsplit(reply.headers.get("location", ""))
        if reply.status // 100 == http.client.TEMPORARY_REDIRECT // 100 and target.hostname:
            self._transport.send("GET", f"{target.scheme}://{target.netloc}/", {})

    def find(self, image: str) -> Reply:
        """Ask for the manifest of *image*; raise Failed. It is a GET: only a body says which action is missing."""
        name, reference = _split(image)
        reply = self._get(f"/v2/{quote(name)}/manifests/{quote(reference, safe=':')}", Accept=MANIFESTS)
        self._expect_allowed(reply, image)
        if reply.status == http.client.NOT_FOUND:
            raise failed(
                Code.SERVICE_ERROR,
                f"{self._host} takes the credential but has no image {image}: {_said(reply)}",
                hint="Check `images` of this registry. The login itself is good.",
            )
        self._expect_ok(reply)
        return reply

    def _expect_allowed(self, reply: Reply, image: str) -> None:
        if reply.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            action, said = missing_action(reply.body.decode(errors="replace")), _said(reply)
            raise failed(
                Code.PULL_DENIED,
                f"{self._host} takes the credential but does not let it pull {image}"
                + (f": {action} is denied: " if action else ": ")
                + said,
            )

    def _get(self, path: str, **headers: str) -> Reply:
        if not self._public:
            return self._send(path, {**headers, "Authorization": self._basic})
        reply = self._send(path, headers)
        if reply.status != http.client.UNAUTHORIZED:
            return reply
        return self._send(path, {**headers, "Authorization": f"Bearer {self._bearer(reply)}"})

    def _bearer(self, challenge: Reply) -> str:
        """Return the token that *challenge* asks for, in exchange for the credential."""
        scheme, _, rest = challenge.headers.get("www-authenticate", "").partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        realm = urlsplit(asked.pop("realm", ""))
        # The credential goes to the registry itself and to nobody whom a server names.
        if scheme.lower() != "bearer" or realm.scheme != "https" or realm.netloc != self._host:
            raise failed(
                Code.MALFORMED_ANSWER,
                f"{self._host} wants its credential sent to {clean(realm.netloc or 'nobody', 64)}",
            )
        reply = self._send(f"{realm.path or '/'}?{urlencode(asked)}", {"Authorization": self._basic})
        self._expect_ok(reply)
        try:
            given = json.loads(reply.body)
            token = given.get("token") or given["access_token"]
        except (ValueError, KeyError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise failed(Code.MALFORMED_ANSWER, f"{self._host} gave no token for the credential")
        return token

    def _send(self, path: str, headers: dict[str, str]) -> Reply:
        return self._transport.send("GET", f"https://{self._host}{path}", headers, through=self._endpoint)

    def _expect_ok(self, reply: Reply) -> None:
        match reply.status:
            case http.client.OK:
                return
            # 400 is what ECR has for a credential of another region.
            case http.client.UNAUTHORIZED | http.client.FORBIDDEN | http.client.BAD_REQUEST:
                raise failed(
                    Code.INVALID_KEYS,
                    f"{self._host} does not take the credential: {reply.status} {_said(reply)}",
                    hint="A new one is asked for at once. If that does not help: was the role's session revoked?",
                )
            case http.client.TOO_MANY_REQUESTS:
                raise failed(Code.THROTTLED, f"{self._host} asks to come less often")
            case status if status >= http.client.INTERNAL_SERVER_ERROR:
                raise failed(Code.SERVICE_ERROR, f"{self._host} answered {status} {_said(reply)}")
            case status:
                raise failed(Code.MALFORMED_ANSWER, f"{self._host} answered {status}, which no registry does")


def _split(image: str) -> tuple[str, str]:
    """Return name and reference of ``repo:tag``, ``repo@sha256:...`` or ``repo``."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    name, _, tag = image.partition(":")
    return name, tag or "latest"


def _said(reply: Reply) -> str:
    """Return what the registry said in its own words, or nothing."""
    try:
        about = json.loads(reply.body)["errors"][0]
        return clean(f"{about['code']}: {about['message']}")
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return "" if b"<" in reply.body[:64] else clean(reply.body[:2048].decode(errors="replace"))
