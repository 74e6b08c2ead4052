"""What passes between the sockets and the services: a request, a reply, a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. *path* is as sent, without the query; *headers* has lower-case names.

    *proxied* says that a proxy was on its way here (a Via header) or was meant (a target in absolute form).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    secure: bool
    proxied: bool

    @property
    def host(self) -> str:
        """The host that was asked for, lower case, without a port."""
        return re.sub(r":\d+$", "", self.headers.get("host", "")).lower()

    @property
    def form(self) -> dict[str, str]:
        """The body of an STS request, or the query where there is one."""
        return {name: values[0] for name, values in parse_qs(self.query or self.body.decode("latin-1")).items()}

    def json(self) -> Any:
        """Return the body as JSON; an empty one is an empty object."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply. Date and Content-Length are added where it is sent, unless they stand in *headers*.

    A header whose value is None is not sent at all.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)


class Denied(Exception):  # noqa: N818 - what AWS calls an error is an ordinary answer here
    """A service says no: AWS's error *code*, *message*, and the HTTP *status* (None for what is usual)."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def json_reply(value: object, status: int = 200, kind: str = "application/json") -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": kind})


# What AWS answers with where the table of a service says nothing else: 400 in JSON protocols, 403 in STS.
_STATUS = {
    "ServerException": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "TooManyRequestsException": 429,
    "ValidationError": 400,
    "Throttling": 400,
}

# The same refusals have other names in STS's older protocol.
_IN_STS = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "ExpiredTokenException": "ExpiredToken",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "AccessDeniedException": "AccessDenied",
    "ThrottlingException": "Throttling",
}


def error_reply(service: str, error: Denied) -> Reply:
    """Say no in the protocol of *service*."""
    code, message = error.code, error.message
    if service == "sts":
        code = _IN_STS.get(code, code)
        status = error.status or _STATUS.get(code, 403)
        fault = "Receiver" if status >= 500 else "Sender"  # noqa: PLR2004 - HTTP's own border
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{fault}</Type><Code>{_xml(code)}</Code><Message>{_xml(message)}</Message></Error>"
            "<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
        )
        return Reply(status, body.encode(), {"Content-Type": "text/xml"})
    status = error.status or _STATUS.get(code, 400)
    if service == "registry":
        return json_reply({"errors": [{"code": code, "message": message}]}, status)
    if service == "imds":
        return json_reply({"Code": code, "Message": message}, status)
    return json_reply({"__type": code, "message": message}, status, "application/x-amz-json-1.1")


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
