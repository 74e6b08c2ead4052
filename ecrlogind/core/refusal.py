"""The closed set of reasons for which AWS or the way to it gives no credential, and which of them waiting can cure."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Why no credential was issued, or why one is of no use. Stable: they appear in status, journal and metrics."""

    NO_NETWORK = "no_network"
    DNS = "dns"
    TLS = "tls"
    PROXY = "proxy"
    IMDS_UNREACHABLE = "imds_unreachable"
    NO_ROLE = "no_role"
    NO_CREDENTIALS = "no_credentials"
    INVALID_KEYS = "invalid_keys"
    CLOCK_SKEW = "clock_skew"
    ACCESS_DENIED = "access_denied"
    ASSUME_ROLE_DENIED = "assume_role_denied"
    THROTTLED = "throttled"
    SERVICE_ERROR = "service_error"
    MALFORMED_ANSWER = "malformed_answer"
    EXPIRED_ON_ARRIVAL = "expired_on_arrival"
    DEADLINE = "deadline"
    PULL_DENIED = "pull_denied"
    ISSUER_FAILED = "issuer_failed"  # ours, not AWS's: the process that asks came to an end without an answer


# Somebody must change a policy or a setting; waiting alone brings nothing. They are retried all the same.
INCURABLE = frozenset(
    {Code.NO_CREDENTIALS, Code.INVALID_KEYS, Code.ACCESS_DENIED, Code.ASSUME_ROLE_DENIED, Code.PULL_DENIED}
)


# Of what a courier is refused, most wants a person. dockerd, and the network that it asks the registry by, may just not
# be up yet: we start early. The names are `document.Trouble`'s.
_NOT_UP_YET = frozenset({"no_daemon", "registry_unreachable"})


def can_be_cured_by_waiting(code: str) -> bool:
    """Whether the start should wait on for what was refused with *code*."""
    return code in (frozenset(Code) | _NOT_UP_YET) - INCURABLE
