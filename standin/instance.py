"""IMDS, version 2 only, and the instance it speaks of."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from standin.calls import Record
from standin.identities import Identities, Session, partition_of
from standin.message import Reply, Request, json_reply

State = Literal["ok", "no_role", "disabled", "no_answer", "throttled", "json_error", "html"]

ACTIONS = {
    "/latest/api/token": "token",
    "/latest/dynamic/instance-identity/document": "document",
    "/latest/meta-data/iam/security-credentials": "role",
    "/latest/meta-data/placement/region": "region",
    "/latest/meta-data/instance-id": "instance-id",
}


def action_of(path: str) -> str:
    """Return what `Record.action` calls a request for *path*."""
    bare = path.rstrip("/")
    if bare not in ACTIONS and bare.startswith("/latest/meta-data/iam/security-credentials/"):
        return "credentials"
    return ACTIONS.get(bare, "other")


@dataclass(slots=True)
class Instance:
    """The EC2 instance that IMDS says we are on. Every field may be changed at any time.

    *role* is the name of the attached role, None for none. *credentials_lifetime* is in seconds. *state*:

    - ``ok``
    - ``no_role``: 404, as when none is attached (yet)
    - ``disabled``: 403 for everything
    - ``no_answer``: asking for a token is never answered, as beyond the hop limit
    - ``throttled``: 429 for everything but the token
    - ``json_error``: 200 whose JSON is an error (a role that EC2 may not assume)
    - ``html``: 200 with a page
    """

    account: str = "111122223333"
    region: str = "eu-west-1"
    id: str = "i-0123456789abcdef0"
    role: str | None = "runner"
    state: State = "ok"
    credentials_lifetime: float = 6 * 3600.0
    tokens: set[str] = field(default_factory=set)
    _session: Session | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request, action: str, identities: Identities, now: float) -> Reply:
        """Answer as IMDS does."""
        if self.state == "disabled":
            return Reply(403, _page("403 - Forbidden"), {"Content-Type": "text/html"})
        if action == "token":
            return self._token(request)
        if request.method != "GET":
            return Reply(405)
        if request.headers.get("x-aws-ec2-metadata-token") not in self.tokens:
            return Reply(401, _page("401 - Unauthorized"), {"Content-Type": "text/html"})
        if self.state == "throttled":
            return Reply(429)
        if self.state == "html":
            return Reply(200, _page("Welcome"), {"Content-Type": "text/html"})
        return self._data(request.path, action, identities, now)

    def _token(self, request: Request) -> Reply:
        if request.method != "PUT":
            return Reply(405)
        seconds = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:  # noqa: PLR2004 - IMDS's own limit
            return Reply(400, _page("400 - Bad Request"), {"Content-Type": "text/html"})
        # IMDS refuses what was forwarded.
        if "x-forwarded-for" in request.headers:
            return Reply(403)
        token = secrets.token_urlsafe(40)
        self.tokens.add(token)
        return Reply(
            200, token.encode(), {"Content-Type": "text/plain", "X-aws-ec2-metadata-token-ttl-seconds": seconds}
        )

    def _data(self, path: str, action: str, identities: Identities, now: float) -> Reply:
        role = None if self.state == "no_role" else self.role
        match action:
            case "region":
                return Reply(200, self.region.encode(), {"Content-Type": "text/plain"})
            case "instance-id":
                return Reply(200, self.id.encode(), {"Content-Type": "text/plain"})
            case "document":
                document = {"accountId": self.account, "region": self.region, "instanceId": self.id}
                more = {"availabilityZone": f"{self.region}a", "version": "2017-09-30", "architecture": "x86_64"}
                return Reply(200, json.dumps(document | more, indent=2).encode(), {"Content-Type": "text/plain"})
            case "role" if role is not None:
                return Reply(200, role.encode(), {"Content-Type": "text/plain"})
            case "credentials" if role is not None and path.rstrip("/").endswith(f"/{role}"):
                if self.state == "json_error":
                    why = {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role " + role}
                    return json_reply(why | {"LastUpdated": _time(now)}, kind="text/plain")
                return self._credentials(role, identities, now)
        return Reply(404, _page("404 - Not Found"), {"Content-Type": "text/html"})

    def _credentials(self, role: str, identities: Identities, now: float) -> Reply:
        partition, _ = partition_of(self.region)
        with self._lock:
            session = self._session
            arn = f"arn:{partition}:sts::{self.account}:assumed-role/{role}/{self.id}"
            ends_at = now + self.credentials_lifetime
            # IMDS gives the same keys out until they near their end.
            left = (session.expires_at or 0) - now if session is not None else 0
            if session is None or session.arn != arn or left < self.credentials_lifetime / 2:
                session = identities.instance_role(self.account, role, self.id, partition, expires_at=ends_at)
                self._session = session
        return json_reply(
            {
                "Code": "Success",
                "LastUpdated": _time(now),
                "Type": "AWS-HMAC",
                "AccessKeyId": session.access_key,
                "SecretAccessKey": session.secret_key,
                "Token": session.token,
                "Expiration": _time(session.expires_at or 0),
            },
            kind="text/plain",
        )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _page(title: str) -> bytes:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()


def read(request: Request, record: Record) -> Record:
    """Say in *record* what a request to IMDS is about."""
    return replace(record, service="imds", action=action_of(request.path))
