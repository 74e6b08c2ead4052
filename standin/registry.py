"""The registries' own HTTP API: who may in, and what the manifest of an image is called."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from standin.calls import Record
from standin.identities import partition_of
from standin.images import MANIFEST
from standin.message import Denied, Reply, Request, json_reply
from standin.passwords import PUBLIC, Password, basic_password
from standin.world import World

_PRIVATE = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.")
_PUBLIC = ("public.ecr.aws", "ecr-public.aws.com")
_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)")
_UPLOAD = re.compile(r"/v2/(?P<repository>.+)/blobs/uploads/")
_BLOB = re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_ACTIONS = {
    "upload": "ecr:InitiateLayerUpload",
    "manifest": "ecr:BatchGetImage",
    "blob": "ecr:GetDownloadUrlForLayer",
}

EXPIRED = "Your authorization token has expired. Reauthenticate and try again."


def place_of(host: str, world: World) -> tuple[str | None, str | None]:
    """Return account and region of the registry called *host*: both None where the name tells nothing."""
    if host in _PUBLIC:
        return None, PUBLIC
    if host in world.aliases:
        return world.aliases[host]
    found = _PRIVATE.match(host)
    return (found["account"], found["region"]) if found else (None, None)


def read(request: Request, record: Record, world: World) -> Record:
    """Say in *record* what a request to a registry is about."""
    _, region = place_of(request.host, world)
    value = basic_password(request.headers.get("authorization", ""))
    password = world.passwords.known(value) if value else None
    session = password.session if password else None
    if request.path.rstrip("/") == "/token":
        action = "token"
    elif request.path.rstrip("/") == "/v2":
        action = "ping"
    elif _MANIFEST.fullmatch(request.path):
        action = "manifest"
    elif _UPLOAD.match(request.path):
        action = "upload"
    elif _BLOB.fullmatch(request.path):
        action = "blob"
    else:
        action = "other"
    return replace(
        record,
        service="registry",
        action=action,
        region=region,
        access_key=session.access_key if session else None,
        identity=session.arn if session else None,
        account=session.account if session else None,
        role=session.role if session else None,
        session_name=session.session_name if session else None,
        session_policy=session.policy if session else None,
    )


def accepts(host: str, value: str, world: World) -> bool:
    """Whether the registry at *host* takes the password *value* now."""
    try:
        return _admitted(host, value, world) is not None
    except Denied:
        return False


def answer(request: Request, record: Record, world: World) -> Reply:
    """Answer as ECR does; raise Denied where it refuses somebody it knows."""
    host = request.host
    if host in _PUBLIC:
        return _public(request, record, world)
    value = basic_password(request.headers.get("authorization", ""))
    password = _admitted(host, value, world) if value else None
    if password is None:
        challenge = f'Basic realm="https://{host}/",service="ecr.amazonaws.com"'
        return Reply(401, b"Not Authorized\n", _headers(challenge) | {"Content-Type": "text/plain; charset=utf-8"})
    return _content(request, record, password, world)


def _admitted(host: str, value: str, world: World) -> Password | None:
    """Return the password if it opens *host*; None if it is not known."""
    password = world.passwords.known(value)
    if password is None:
        return None
    _, region = place_of(host, world)
    if region not in (None, password.region):
        raise Denied("UNSUPPORTED", "Bad Request", 400)
    if world.now >= password.expires_at:
        raise Denied("DENIED", EXPIRED, 403)
    return password


def _content(request: Request, record: Record, password: Password, world: World) -> Reply:
    account, region = place_of(request.host, world)
    if record.action == "ping":
        return Reply(200, b"", _headers())
    found = _MANIFEST.fullmatch(request.path) or _UPLOAD.match(request.path) or _BLOB.fullmatch(request.path)
    if found is None:
        raise Denied("UNSUPPORTED", "The stand-in knows no more than pulling, and the first step of a push", 404)
    repository = found["repository"]
    partition, _ = partition_of(region or "")
    resource = f"arn:{partition}:ecr:{region}:{account or password.session.account}:repository/{repository}"
    try:
        world.identities.check(password.session, _ACTIONS[record.action], resource)
    except Denied as refusal:
        raise Denied("DENIED", refusal.message, 403) from None
    if record.action == "upload":
        return Reply(202, b"", _headers() | {"Location": f"/v2/{repository}/blobs/uploads/{secrets.token_hex(16)}"})
    tags = world.tags(request.host, repository)
    if tags is None:
        raise Denied(
            "NAME_UNKNOWN",
            f"The repository with name '{repository}' does not exist in the registry with id '{account}'",
            404,
        )
    if record.action == "blob":
        return _blob(found["digest"], world)
    reference = found["reference"]
    digest = tags.get(reference) or (reference if reference in tags.values() else None)
    if digest is None:
        raise Denied("MANIFEST_UNKNOWN", "Requested image not found", 404)
    return Reply(200, world.blobs[digest], _headers() | {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})


def _blob(digest: str, world: World) -> Reply:
    if digest not in world.blobs:
        raise Denied("BLOB_UNKNOWN", "blob unknown to registry", 404)
    if world.layers:
        return Reply(307, b"", _headers() | {"Location": f"https://{world.layers}/{digest}?X-Amz-Signature=0"})
    return layer(f"/{digest}", world)


def layer(path: str, world: World) -> Reply:
    """Answer as the bucket of the layers does, where ECR sends its clients."""
    content = world.blobs.get(path.removeprefix("/"))
    if content is None:
        return Reply(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
    return Reply(200, content, {"Content-Type": "application/octet-stream"})


# --- ECR Public, which takes a bearer token


def _public(request: Request, record: Record, world: World) -> Reply:
    if record.action == "token":
        value = basic_password(request.headers.get("authorization", ""))
        if "authorization" in request.headers and (value is None or _admitted(request.host, value, world) is None):
            raise Denied("DENIED", "Your Authorization Token is invalid.", 403)
        bearer = secrets.token_urlsafe(64)
        world.bearers.add(bearer)
        return json_reply({"token": bearer})
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or bearer not in world.bearers:
        challenge = f'Bearer realm="https://{request.host}/token/",service="public.ecr.aws",scope="aws"'
        body = b'{"errors":[{"code":"DENIED","message":"Not Authorized"}]}\n'
        return Reply(401, body, _headers(challenge) | {"Content-Type": "application/json; charset=utf-8"})
    if record.action == "ping":
        return Reply(200, b"{}", _headers())
    found = _MANIFEST.fullmatch(request.path)
    tags = world.tags(request.host, found["repository"]) if found else None
    if found is None or tags is None:
        raise Denied("NAME_UNKNOWN", "The repository does not exist in the registry", 404)
    if found["reference"] not in tags:
        raise Denied("MANIFEST_UNKNOWN", "Requested image not found", 404)
    return Reply(200, b"{}", _headers() | {"Docker-Content-Digest": tags[found["reference"]]})


def _headers(challenge: str | None = None) -> dict[str, str | None]:
    headers: dict[str, str | None] = {"Docker-Distribution-Api-Version": "registry/2.0"}
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    return headers
