"""What GetAuthorizationToken answered, taken apart without trust."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from ecrlogind.core.credential import Secret
from ecrlogind.core.refusal import Code
from ecrlogind.issuer.refusals import failed, in_words

# ECR says that the size is not fixed; about 3 kB is usual. Clients put it into one header.
LONGEST_TOKEN = 64 * 1024
# ECR says 12 hours.
LONGEST_LIFETIME = timedelta(hours=24)

_PRINTABLE = re.compile(r"[!-~]+")


def read_authorization(data: object, now: float, host: str) -> tuple[str, Secret, timedelta]:
    """Return user name, password and lifetime from one entry of *data*; raise Failed.

    *data* is ECR's list of one, or ECR Public's single entry, its times as the server wrote them. *now* is the server's
    time in Unix seconds. An entry's proxyEndpoint is not looked at: which host a credential goes to is our settings'
    word, never the server's.
    """
    entries = data if isinstance(data, list) else [data]
    if len(entries) != 1 or not isinstance(entries[0], Mapping):
        raise _malformed(host, f"{len(entries) if isinstance(data, list) else 'no'} credentials instead of one")
    username, password = _read_token(entries[0].get("authorizationToken"), host)
    return username, Secret(password), _read_lifetime(entries[0].get("expiresAt"), now, host)


def server_time(date: str | None, local: float) -> float:
    """Return the Unix time in a ``Date`` header, else *local*."""
    try:
        return parsedate_to_datetime(date or "").astimezone(UTC).timestamp()
    except (ValueError, TypeError, OverflowError):
        return local


def _read_token(token: object, host: str) -> tuple[str, str]:
    if not isinstance(token, str) or not token:
        raise _malformed(host, "no token")
    if len(token) > LONGEST_TOKEN:
        raise _malformed(host, f"a token of {len(token)} characters")
    try:
        pair = base64.b64decode(token.encode("ascii"), validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        raise _malformed(host, "a token that is not the base64 of ASCII text") from None
    username, colon, password = pair.partition(":")
    if not colon or username != "AWS":
        raise _malformed(host, "a token for another user than AWS")
    if not _PRINTABLE.fullmatch(password):
        raise _malformed(host, "a password that is empty or holds other than printable characters")
    return username, password


def _read_lifetime(expires_at: object, now: float, host: str) -> timedelta:
    match expires_at:
        case bool():
            ends = math.nan
        case int() | float():
            ends = float(expires_at) if abs(expires_at) < 1e15 else math.nan  # noqa: PLR2004  33 million years
        case str():
            ends = _read_time(expires_at)
        case _:
            raise _malformed(host, "a credential without an end")
    if not math.isfinite(ends):
        raise _malformed(host, "a credential whose end is no time")
    left = ends - now
    if left <= 0:
        raise failed(
            Code.EXPIRED_ON_ARRIVAL,
            f"{host} gave a credential that ended {in_words(timedelta(seconds=-left))} before it was given",
        )
    if left > LONGEST_LIFETIME.total_seconds():
        raise _malformed(host, f"a credential that would live for {in_words(timedelta(seconds=left))}")
    return timedelta(seconds=left)


def _read_time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _malformed(host: str, what: str) -> Exception:
    return failed(Code.MALFORMED_ANSWER, f"{host} answered with {what}")
