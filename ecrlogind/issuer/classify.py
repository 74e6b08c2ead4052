"""Give what botocore raises its name among the refusals."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import botocore.exceptions as errors

from ecrlogind.core.refusal import Code
from ecrlogind.issuer.authorization import server_time
from ecrlogind.issuer.refusals import Failed, clean, failed, in_words, missing_action

# AWS takes signatures that are 5 minutes off; what is this far off is the reason, not a coincidence.
SMALLEST_SKEW = timedelta(minutes=4)
# The longest that a server may ask us to wait.
LONGEST_WAIT = timedelta(hours=1)

DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "OptInRequired", "RegionDisabledException"}
THROTTLED = {
    "ThrottlingException",
    "ThrottleException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "LimitExceededException",
    "SlowDown",
    "BandwidthLimitExceeded",
}
SIGNED_WRONG = {
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
    "IncompleteSignature",
    "IncompleteSignatureException",
}
KEYS_INVALID = {
    "ExpiredToken",
    "ExpiredTokenException",
    "ExpiredTokenIdentityException",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidIdentityToken",
    "AuthFailure",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
}

_CLASS = 100  # of HTTP status codes


def classify(error: Exception, host: str, identity: str, now: float) -> Failed | None:
    """Return what to tell about *error*, or None where it is none of botocore's. *now* is the local Unix time."""
    match error:
        case Failed():
            return error
        case errors.ClientError():
            return _classify_answer(error, host, identity, now)
        case errors.ProfileNotFound():
            return failed(
                Code.NO_CREDENTIALS,
                f"there is no profile {clean(error.kwargs.get('profile'), 64)} in the AWS config and credentials files",
                hint="Check [aws] profile or AWS_PROFILE, and the files that config_file and credentials_file name.",
            )
        case errors.ConfigParseError():
            return failed(
                Code.NO_CREDENTIALS,
                "the AWS config or credentials file is not in INI format",
                hint="Check the files that [aws] config_file and credentials_file name, or those in ~/.aws.",
            )
        case errors.CredentialRetrievalError():
            provider = clean(error.kwargs.get("provider"), 64)
            # What a credential process wrote is not quoted: it may be secret.
            return failed(
                Code.NO_CREDENTIALS,
                f"the source of credentials {provider} gave none",
                hint="Run the profile's credential_process as the issuer's user (under systemd: ecrlogind) to see why.",
            )
        case errors.PartialCredentialsError():
            return failed(
                Code.NO_CREDENTIALS,
                f"the credentials are incomplete: {clean(error.kwargs.get('cred_var'), 64)} is missing",
            )
        case errors.ParamValidationError():
            return failed(
                Code.ASSUME_ROLE_DENIED,
                f"{identity} cannot be assumed as the settings have it: {clean(error)}",
                hint="Check role_arn, external_id, session_name and duration of the registry.",
            )
        case (
            errors.NoCredentialsError()
            | errors.InvalidConfigError()
            | errors.UnknownCredentialError()
            | errors.RefreshWithMFAUnsupportedError()
            | errors.SSOError()
            | errors.LoginError()
            | errors.TokenRetrievalError()
            | errors.MetadataRetrievalError()
            | errors.MissingDependencyException()
        ):
            return failed(Code.NO_CREDENTIALS, f"the SDK's chain gives no credentials: {clean(error)}")
        case errors.BaseEndpointResolverError() | errors.EndpointProviderError() | errors.UnknownRegionError():
            return failed(
                Code.SERVICE_ERROR,
                f"AWS has no such endpoint for {host}: {clean(error)}",
                hint="Check use_fips, use_dualstack and the region; [aws] endpoints can name another.",
            )
        case errors.BotoCoreError():
            return failed(Code.SERVICE_ERROR, f"{host}: {clean(error)}")
        case _:
            return None


def _classify_answer(error: errors.ClientError, host: str, identity: str, now: float) -> Failed:
    answer: Mapping[str, Any] = error.response
    about = answer.get("Error", {})
    code, text = clean(about.get("Code", ""), 64), str(about.get("Message") or "")
    meta = answer.get("ResponseMetadata", {})
    status = meta.get("HTTPStatusCode", 0)
    headers = meta.get("HTTPHeaders", {})
    # A name may come with a namespace before it or a link behind it.
    name = code.rpartition("#")[2].partition(":")[0]
    said = f"{status} {name}: {clean(text)}" if text else f"{status} {name}"

    if name in SIGNED_WRONG:
        skew = timedelta(seconds=server_time(headers.get("date"), now) - now)
        return _signed_wrong(host, identity, name, text, skew)
    if name in THROTTLED or status == http.client.TOO_MANY_REQUESTS:
        return failed(
            Code.THROTTLED, f"{host} asks {identity} to come less often: {said}", retry_after=_retry_after(headers, now)
        )
    if name in KEYS_INVALID:
        return failed(Code.INVALID_KEYS, f"{host} does not take the keys of {identity}: {said}")
    is_refusal = status // _CLASS == 4  # noqa: PLR2004  the class of HTTP's refusals
    if error.operation_name.startswith("AssumeRole") and is_refusal and name != "RegionDisabledException":
        return failed(Code.ASSUME_ROLE_DENIED, f"{identity} cannot be assumed (trust policy or external id?): {said}")
    if name in DENIED or status == http.client.FORBIDDEN:
        action = missing_action(text)
        missing = f"{action} is denied to {identity}" if action else f"{host} denies it to {identity}"
        return failed(Code.ACCESS_DENIED, f"{missing}: {said}")
    return failed(Code.SERVICE_ERROR, f"{host} answered {said}", retry_after=_retry_after(headers, now))


def _signed_wrong(host: str, identity: str, name: str, text: str, skew: timedelta) -> Failed:
    if abs(skew) >= SMALLEST_SKEW:
        way = "behind" if skew > timedelta(0) else "ahead"
        return failed(
            Code.CLOCK_SKEW,
            f"this host's clock is {in_words(abs(skew))} {way}: {host} does not take its signatures ({name})",
        )
    # AWS quotes the request that it would have signed, session token and all: the first line is enough.
    return failed(
        Code.INVALID_KEYS,
        f"{host} does not take the signature of {identity}: {name}: {clean(text.partition(chr(10))[0])}",
    )


def _retry_after(headers: Mapping[str, str], now: float) -> timedelta | None:
    """Return what a ``Retry-After`` header asks for: seconds, or a date."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else parsedate_to_datetime(text).timestamp() - now
        return min(max(timedelta(seconds=seconds), timedelta(0)), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return None
