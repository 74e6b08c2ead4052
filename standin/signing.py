"""SigV4 from the other side: whose a signature is, and whether it is good."""

from __future__ import annotations

import hashlib
import hmac
import re
from calendar import timegm
from dataclasses import dataclass
from time import strptime
from urllib.parse import quote

from standin.identities import Identities, Session
from standin.message import Denied, Request

# How far from its own clock AWS takes a signature, in seconds.
WINDOW = 300

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, *"
    r"SignedHeaders=(?P<headers>[^,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Signature:
    """What an Authorization header says of itself."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    value: str


def read(request: Request) -> Signature | None:
    """Return the signature of *request*, or None if it has none."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if not found:
        return None
    return Signature(
        found["key"],
        found["date"],
        found["region"],
        found["service"],
        tuple(found["headers"].split(";")),
        found["signature"],
    )


def check(request: Request, identities: Identities, now: float) -> Session:
    """Return who signed *request*; raise Denied, as AWS does, if that is nobody or the signature is not good."""
    signature = read(request)
    if signature is None:
        raise Denied("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    session = identities.by_key(signature.access_key)
    if session is None or request.headers.get("x-amz-security-token") != session.token:
        raise Denied("UnrecognizedClientException", "The security token included in the request is invalid.")
    stamp = request.headers.get("x-amz-date", "")
    try:
        signed_at = timegm(strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Denied("InvalidSignatureException", "Date must be in ISO-8601 'basic format'.") from None
    if abs(signed_at - now) > WINDOW:
        raise Denied("InvalidSignatureException", _skewed(stamp, signed_at, now))
    if not hmac.compare_digest(_expected(request, signature, stamp, session.secret_key), signature.value):
        raise Denied(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    if session.expires_at is not None and now >= session.expires_at:
        raise Denied("ExpiredTokenException", "The security token included in the request is expired")
    return session


def _skewed(stamp: str, signed_at: float, now: float) -> str:
    from time import gmtime, strftime

    ours = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
    if signed_at > now:
        border = strftime("%Y%m%dT%H%M%SZ", gmtime(now + WINDOW))
        return f"Signature not yet current: {stamp} is still later than {border} ({ours} + 5 min.)"
    border = strftime("%Y%m%dT%H%M%SZ", gmtime(now - WINDOW))
    return f"Signature expired: {stamp} is now earlier than {border} ({ours} - 5 min.)"


def _expected(request: Request, signature: Signature, stamp: str, secret_key: str) -> str:
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signature.signed_headers
    )
    canonical = "\n".join(
        (
            request.method,
            quote(request.path, safe="/~"),
            "&".join(sorted(request.query.split("&"))) if request.query else "",
            headers,
            ";".join(signature.signed_headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + secret_key.encode()
    for part in (signature.date, signature.region, signature.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
