"""The instance metadata service: which instance this is, and the credentials of its role.

IMDSv2 only, never through a proxy. An IMDSv1 request is never made: whoever can make a service send one (SSRF) must not
find it answered because of us.
"""

from __future__ import annotations

import errno
import http.client
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ecrlogind.core.credential import Secret
from ecrlogind.core.refusal import Code
from ecrlogind.core.registry import check_account, partition_of
from ecrlogind.core.wire import Aws, Instance
from ecrlogind.issuer.deadline import Deadline
from ecrlogind.issuer.once import Once
from ecrlogind.issuer.proxies import port_of
from ecrlogind.issuer.refusals import Failed, clean, failed, reason_of
from ecrlogind.issuer.sockets import Reply, TooLarge, dial, exchange, left_until

# How often a service that is not there yet is asked again, in seconds.
PACE = 0.25
# How long one connect, and the first request for a token, may take; each next request gets twice the time.
CONNECT_PATIENCE = 1.0
FIRST_PATIENCE = 2.0
# How long the identity document may take, which is there in milliseconds: calls that can do without wait for it.
DOCUMENT_PATIENCE = 5.0

# The token serves for this one question: a few requests within the deadline.
TOKEN_LIFE = "300"  # noqa: S105  seconds

_ROLE = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_INSTANCE = re.compile(r"[a-z0-9-]{1,64}")

_HOP_LIMIT = (
    "In a container the answer needs a second hop: aws ec2 modify-instance-metadata-options "
    "--http-put-response-hop-limit 2. Else a firewall drops the answers."
)
_DISABLED = (
    "Enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled. "
    "Or give credentials through [aws] or the environment."
)


@dataclass(frozen=True, slots=True)
class Keys:
    """What requests are signed with."""

    access: str
    secret: Secret
    token: Secret | None


def endpoint(aws: Aws, environment: Mapping[str, str]) -> str:
    """Return where the service is: the settings' word, else the environment's, else the well-known address."""
    if given := aws.endpoints.get("imds") or environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return given
    mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "")
    return "http://[fd00:ec2::254]" if "ipv6" in (aws.imds, mode.lower()) else "http://169.254.169.254"


class Metadata:
    """The service at *url*, asked until *deadline*. Everything is asked for at most once."""

    def __init__(self, url: str, deadline: Deadline, *, disabled: bool = False) -> None:
        self._url: SplitResult = urlsplit(url)
        self._deadline = deadline
        self._disabled = disabled
        self.token = Once(self._wait_for_token)
        self.document = Once(self._read_document)
        self.keys = Once(self._read_keys)

    @property
    def _where(self) -> str:
        return f"IMDS at {self._url.netloc}"

    def _wait_for_token(self) -> Secret:
        """Ask for a token until there is an answer: at boot the network comes later than we do."""
        if self._disabled:
            raise failed(
                Code.NO_CREDENTIALS,
                "AWS_EC2_METADATA_DISABLED forbids to ask IMDS",
                hint="Take the variable out of the service's environment; or give credentials through [aws] or the "
                'environment, and name the registry by its host instead of "self".',
            )
        patience = FIRST_PATIENCE
        while True:
            began = time.monotonic()
            try:
                return self._token_in(self._ask_for_token(began, patience))
            except (http.client.HTTPException, TooLarge) as error:
                raise self._not_http(error) from None
            except OSError as error:
                if max(began + PACE, time.monotonic()) >= self._deadline.at:
                    raise self._unreachable(error) from None
                patience *= 2 if isinstance(error, _Silent) else 1
            time.sleep(max(0.0, began + PACE - time.monotonic()))

    def _ask_for_token(self, began: float, patience: float) -> Reply:
        until = min(self._deadline.at, began + CONNECT_PATIENCE)
        with dial(self._url.hostname or "", port_of(self._url), until) as sock:
            self._deadline.begin()
            try:
                return self._exchange(
                    sock,
                    "PUT",
                    "/latest/api/token",
                    {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_LIFE, "Content-Length": "0"},
                    until=min(self._deadline.at, began + patience),
                )
            except TimeoutError:
                raise _Silent from None

    def _token_in(self, reply: Reply) -> Secret:
        match reply.status:
            case http.client.OK:
                token = reply.body.decode("ascii", "replace")
                if re.fullmatch(r"[!-~]{1,1024}", token) and "<" not in token:
                    return Secret(token)
                raise self._malformed("its token is none")
            case http.client.FORBIDDEN:
                raise failed(
                    Code.IMDS_UNREACHABLE, f"{self._where} is disabled for this instance (403)", hint=_DISABLED
                )
            case status:
                raise self._refusing("a token", status)

    def _unreachable(self, error: OSError) -> Failed:
        if isinstance(error, _Silent):
            return failed(
                Code.IMDS_UNREACHABLE,
                f"{self._where} takes the connection but never answers the request for a token: hop limit?",
                hint=_HOP_LIMIT,
            )
        # No route to a link-local address: this host has no network at all.
        code = Code.NO_NETWORK if error.errno == errno.ENETUNREACH else Code.IMDS_UNREACHABLE
        return failed(code, f"{self._where} cannot be reached: {reason_of(error)}")

    def _read_document(self) -> Instance:
        what, path = "the identity document", "/latest/dynamic/instance-identity/document"
        document = self._parsed(what, self._get(what, path, patience=DOCUMENT_PATIENCE))
        try:
            account, region, instance = (document[key] for key in ("accountId", "region", "instanceId"))
            check_account(account)
            partition_of(region)
            if not _INSTANCE.fullmatch(instance):
                raise self._malformed("its identity document names no instance")
        except (KeyError, TypeError, ValueError):
            raise self._malformed("its identity document lacks account, region or instance") from None
        return Instance(account, region, instance)

    def _read_keys(self) -> Keys:
        path = "/latest/meta-data/iam/security-credentials/"
        listed = self._get("the name of the role", path)
        role = listed.body.decode("ascii", "replace").strip().partition("\n")[0].strip()
        if listed.status == http.client.NOT_FOUND or (listed.status == http.client.OK and not role):
            raise failed(Code.NO_ROLE, "no role is attached to this instance (yet)")
        self._expect_ok("the name of the role", listed)
        if not _ROLE.fullmatch(role):
            raise self._malformed("it names no role")
        given = self._get("the role's credentials", path + role)
        if given.status == http.client.NOT_FOUND:
            raise failed(Code.NO_ROLE, f"the role {role} is no longer attached to this instance")
        keys = self._parsed("the role's credentials", given)
        if keys.get("Code", "Success") != "Success":
            raise failed(
                Code.NO_ROLE,
                f"{self._where} has no credentials for the role {role}: "
                f"{clean(keys.get('Code'), 64)}: {clean(keys.get('Message', ''))}",
                hint="Check that the role exists and that its trust policy names ec2.amazonaws.com; a role that was "
                "attached just now may take a minute.",
            )
        access, secret, token = (keys.get(key) for key in ("AccessKeyId", "SecretAccessKey", "Token"))
        if not (_is_token(access) and _is_token(secret) and _is_token(token)):
            raise self._malformed("its credentials are incomplete")
        return Keys(str(access), Secret(str(secret)), Secret(str(token)))

    def _parsed(self, what: str, reply: Reply) -> dict[str, Any]:
        self._expect_ok(what, reply)
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._malformed(f"{what} is no JSON object")
        return found

    def _get(self, what: str, path: str, *, patience: float = math.inf) -> Reply:
        token = self.token()
        until = min(self._deadline.at, time.monotonic() + patience)
        try:
            with dial(self._url.hostname or "", port_of(self._url), until) as sock:
                headers = {"X-aws-ec2-metadata-token": token.reveal()}
                return self._exchange(sock, "GET", path, headers, until=until)
        except (http.client.HTTPException, TooLarge) as error:
            raise self._not_http(error) from None
        except OSError as error:
            raise failed(Code.IMDS_UNREACHABLE, f"{self._where} does not give {what}: {reason_of(error)}") from None

    def _exchange(self, sock: Any, method: str, path: str, headers: Mapping[str, str], *, until: float) -> Reply:
        left_until(until)
        return exchange(sock, until, method, path, {"Host": self._url.netloc, **headers})

    def _expect_ok(self, what: str, reply: Reply) -> None:
        if reply.status != http.client.OK:
            raise self._refusing(what, reply.status)

    def _refusing(self, what: str, status: int) -> Failed:
        message = f"{self._where} answers the request for {what} with status {status}"
        if status == http.client.TOO_MANY_REQUESTS:
            return failed(Code.THROTTLED, message)
        if status >= http.client.INTERNAL_SERVER_ERROR:
            return failed(Code.SERVICE_ERROR, message)
        if status == http.client.UNAUTHORIZED:
            return failed(Code.IMDS_UNREACHABLE, f"{message}: it does not take its own token")
        return failed(Code.IMDS_UNREACHABLE, message)

    def _malformed(self, why: str) -> Failed:
        return failed(
            Code.MALFORMED_ANSWER,
            f"what answers as {self._where} is not the metadata service of EC2: {why}",
            hint="Check [aws] endpoints and what else answers on that address (a proxy, a container platform).",
        )

    def _not_http(self, error: Exception) -> Failed:
        return self._malformed(f"no whole HTTP answer ({type(error).__name__})")


class _Silent(OSError):  # noqa: N818  the other side errs
    """Connected, but the request was never answered."""


def _is_token(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[!-~]{1,16384}", value) is not None
