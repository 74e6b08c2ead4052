"""The APIs that are signed: ECR, ECR Public and STS. moto answers; what it cannot know is put right here."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from standin import signing
from standin.calls import Record
from standin.identities import Role, Session, partition_of
from standin.message import Denied, Reply, Request, json_reply
from standin.passwords import PUBLIC
from standin.world import World

_JSON = "application/x-amz-json-1.1"
_TARGETS = {
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "SpencerFrontendService": "ecr-public",
}
# Where the region stands in the host names of the APIs (facts of botocore's endpoint rules, all partitions and forms).
_HOST_REGION = re.compile(r"(?:(?:api\.)?ecr(?:-fips|-public)?|sts(?:-fips)?)\.(?P<region>[a-z0-9-]+-\d+)\.")
# An hour is the most that a role assumed by a role may last.
_CHAINED = 3600


def read(request: Request, record: Record, world: World) -> Record:
    """Say in *record* what a signed request (or STS's unsigned one) is about."""
    signature = signing.read(request)
    session = world.identities.by_key(signature.access_key) if signature else None
    service, action = "other", ""
    target, _, operation = request.headers.get("x-amz-target", "").partition(".")
    form: dict[str, str] = {}
    if target:
        service, action = _TARGETS.get(target, "other"), operation
    elif request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded") or request.query:
        form = request.form
        action = form.get("Action", "")
        service = "sts" if form.get("Version") == "2011-06-15" else "other"
    duration = form.get("DurationSeconds", "")
    return replace(
        record,
        service=service,
        action=action or "other",
        region=signature.region if signature else _region_of(request.host),
        access_key=signature.access_key if signature else None,
        identity=session.arn if session else None,
        account=session.account if session else None,
        role=session.role if session else None,
        session_name=form.get("RoleSessionName") or (session.session_name if session else None),
        session_policy=form.get("Policy") or (session.policy if session else None),
        external_id=form.get("ExternalId"),
        duration=int(duration) if duration.isdecimal() else None,
        target=form.get("RoleArn"),
    )


def answer(request: Request, record: Record, world: World) -> Reply:
    """Answer as AWS does; raise Denied where it refuses."""
    if (record.service, record.action) == ("sts", "AssumeRoleWithWebIdentity"):
        return _with_web_identity(request, record, world)
    session = signing.check(request, world.identities, world.now)
    named = _region_of(request.host)
    if named is not None and named != record.region:
        raise Denied(
            "InvalidSignatureException",
            f"Credential should be scoped to a valid Region, not '{record.region}'.",
        )
    match record.service, record.action:
        case "ecr", "GetAuthorizationToken":
            world.identities.check(session, "ecr:GetAuthorizationToken")
            return _private(request, record, session, world)
        case "ecr-public", "GetAuthorizationToken":
            world.identities.check(session, "ecr-public:GetAuthorizationToken")
            world.identities.check(session, "sts:GetServiceBearerToken")
            return _public(session, world)
        case "ecr-public", _:
            raise Denied("UnsupportedCommandException", "The stand-in does not know this action")
        case "sts", "AssumeRole":
            return _assumed(request, record, session, world)
        case "sts", "GetCallerIdentity":
            return _caller(request, session)
        case _:
            return ask_moto(request)


def _region_of(host: str) -> str | None:
    found = _HOST_REGION.match(host)
    return found["region"] if found else None


# --- ECR


def _private(request: Request, record: Record, session: Session, world: World) -> Reply:
    """Put real passwords, ends and endpoints into moto's answer, which has one constant for each."""
    reply = ask_moto(request)
    if reply.status != 200:  # noqa: PLR2004
        return reply
    region = record.region or ""
    password = world.passwords.issue(region, session, world.now, world.lifetime)
    document = json.loads(reply.body)
    _, suffix = partition_of(region)
    accounts = request.json().get("registryIds") or [session.account]
    for data, account in zip(document["authorizationData"], accounts, strict=True):
        data["authorizationToken"] = password.token
        data["expiresAt"] = round(password.expires_at, 3)
        # AWS names the plain host even where a FIPS or dual-stack endpoint was asked.
        data["proxyEndpoint"] = f"https://{account}.dkr.ecr.{region}.{suffix}"
    return json_reply(document, kind=_JSON)


def _public(session: Session, world: World) -> Reply:
    password = world.passwords.issue(PUBLIC, session, world.now, world.lifetime)
    data = {"authorizationToken": password.token, "expiresAt": round(password.expires_at, 3)}
    return json_reply({"authorizationData": data}, kind=_JSON)


# --- STS


def _assumed(request: Request, record: Record, session: Session, world: World) -> Reply:
    role = record.target or ""
    known = world.identities.roles.get(role)
    if known is None and world.identities.unknown_roles:
        known = Role()
    if known is None or not _trusts(known, session, record.external_id):
        # AWS tells "no such role", "not trusted" and "wrong external id" not apart.
        raise Denied(
            "AccessDenied", f"User: {session.arn} is not authorized to perform: sts:AssumeRole on resource: {role}"
        )
    world.identities.check(session, "sts:AssumeRole", role)
    if session.role is not None and (record.duration or 0) > _CHAINED:
        raise Denied(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
    return _registered(ask_moto(request), record, world)


def _trusts(role: Role, session: Session, external_id: str | None) -> bool:
    from fnmatch import fnmatchcase

    if role.external_id is not None and role.external_id != external_id:
        return False
    return role.trusts is None or any(fnmatchcase(session.arn, pattern) for pattern in role.trusts)


def _with_web_identity(request: Request, record: Record, world: World) -> Reply:
    token = request.form.get("WebIdentityToken", "")
    if not token or world.web_identity not in (None, token):
        raise Denied("InvalidIdentityToken", "The web identity token that was passed could not be validated", 400)
    known = world.identities.roles.get(record.target or "")
    if known is None and not world.identities.unknown_roles:
        raise Denied("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    return _registered(ask_moto(request), record, world)


def _registered(reply: Reply, record: Record, world: World) -> Reply:
    """Note whom the keys in an AssumeRole's answer belong to."""
    text = reply.body.decode()
    if reply.status != 200:  # noqa: PLR2004
        return reply
    role = record.target or ""
    lifetime = record.duration or _CHAINED
    world.identities.add(
        Session(
            access_key=_element(text, "AccessKeyId"),
            secret_key=_element(text, "SecretAccessKey"),
            token=_element(text, "SessionToken"),
            arn=_element(text, "Arn"),
            account=role.split(":")[4],
            role=role,
            session_name=record.session_name,
            policy=record.session_policy,
            expires_at=world.now + lifetime,
        )
    )
    return Reply(reply.status, _stamped(text, world.now + lifetime).encode(), reply.headers)


def _caller(request: Request, session: Session) -> Reply:
    """Put the real caller into moto's answer, which knows only the keys that it made itself."""
    text = ask_moto(request).body.decode()
    for name, value in (("Arn", session.arn), ("Account", session.account)):
        text = re.sub(rf"<{name}>.*?</{name}>", f"<{name}>{value}</{name}>", text)
    return Reply(200, text.encode(), {"Content-Type": "text/xml"})


def _element(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text)
    if found is None:
        raise ValueError(f"no {name} in moto's answer")
    return found[1]


def _stamped(text: str, ends_at: float) -> str:
    from time import gmtime, strftime

    stamp = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(ends_at))
    return re.sub(r"<Expiration>.*?</Expiration>", f"<Expiration>{stamp}</Expiration>", text)


# --- moto

_moto_lock = threading.Lock()


@cache
def _moto() -> Callable[..., Any]:
    """Import moto, once and not before somebody needs it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    application: Callable[..., Any] = DomainDispatcherApplication(create_backend_app)
    return application


@cache
def warm_up() -> None:
    """Make moto's applications, half a second once in a process, so that the first call need not wait for them."""
    for service, body in (("ecr", b"{}"), ("sts", b"Action=GetCallerIdentity&Version=2011-06-15")):
        target = {"x-amz-target": "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"}
        headers = {
            "host": f"{service}.eu-west-1.amazonaws.com",
            "authorization": f"AWS4-HMAC-SHA256 Credential=AKIAX/20260101/eu-west-1/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0",
            **(target if service == "ecr" else {"content-type": "application/x-www-form-urlencoded"}),
        }
        ask_moto(Request("POST", "/", "", headers, body, secure=False, proxied=False))


def ask_moto(request: Request) -> Reply:
    """Pass *request* to moto's WSGI application."""
    from werkzeug.datastructures import Headers
    from werkzeug.test import EnvironBuilder, run_wsgi_app

    with _moto_lock:
        application = _moto()
        builder = EnvironBuilder(
            method=request.method,
            path=request.path,
            query_string=request.query,
            base_url="http://" + request.headers.get("host", "localhost"),
            headers=Headers(list(request.headers.items())),
            data=request.body,
        )
        iterable, status, headers = run_wsgi_app(application, builder.get_environ(), buffered=True)
        body = b"".join(iterable)
    kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "date", "server")}
    return Reply(int(status.split()[0]), body, kept)
