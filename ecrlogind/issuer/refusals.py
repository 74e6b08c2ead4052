"""Why there is no credential: the one place where a reason gets its name, its line of what and its line of what to do.

All of it is plain ASCII: it may end up in a service manager's status line.
"""

from __future__ import annotations

import re
import socket
import ssl
from datetime import timedelta

from ecrlogind.core.refusal import Code
from ecrlogind.core.wire import Refusal

# The longest text of somebody else's that a message quotes.
LONGEST_QUOTE = 512

HINTS = {
    Code.NO_NETWORK: "Check the host's network, routes and firewall. It is tried again until it works.",
    Code.DNS: "Check /etc/resolv.conf and, in a VPC, its DNS settings and the endpoint's private DNS name.",
    Code.TLS: "Check [aws] ca_bundle, the system's CA certificates and whether something intercepts TLS on the way. "
    "A wrong clock makes good certificates invalid.",
    Code.PROXY: "Check [aws] proxy, HTTPS_PROXY and NO_PROXY, and that the proxy lets this host reach AWS.",
    Code.IMDS_UNREACHABLE: "On EC2 check that instance metadata is enabled and that no firewall rule keeps this "
    "service from it; elsewhere give credentials through [aws] or the environment, and name each registry by its "
    'host instead of "self".',
    Code.NO_ROLE: "Attach an instance profile with a role to this instance: "
    "aws ec2 associate-iam-instance-profile. It is noticed within 30 seconds.",
    Code.NO_CREDENTIALS: "Attach an instance profile, or set [aws] profile, config_file or credentials_file.",
    Code.INVALID_KEYS: "Renew the keys or the session that the host signs with; new ones of a role may take a minute.",
    Code.CLOCK_SKEW: "Set the clock: check chronyd or systemd-timesyncd (on EC2 the time server is 169.254.169.123).",
    Code.ACCESS_DENIED: "Allow the action in the identity's policy (see: ecrlogind policy), and in that of a VPC "
    "endpoint on the way.",
    Code.ASSUME_ROLE_DENIED: "Check that the role's trust policy names this host's identity and the external id, and "
    "that the host's own policy allows sts:AssumeRole on it. AWS does not say which of them it was.",
    Code.THROTTLED: "Nothing to do: it is tried again, later each time.",
    Code.SERVICE_ERROR: "Nothing to do if it passes: it is tried again. Else see the AWS Health Dashboard.",
    Code.MALFORMED_ANSWER: "Something other than AWS may have answered: check [aws] endpoints, the proxy, and for a "
    "captive portal.",
    Code.EXPIRED_ON_ARRIVAL: "Check [aws] endpoints and the host's clock: AWS does not give what has ended.",
    Code.DEADLINE: "Check firewall and routes: packets seem to be dropped. A slow network may need a longer "
    "[aws] deadline.",
    Code.PULL_DENIED: "Allow the action on the repository in the identity's policy, and across accounts in the "
    "repository's policy too.",
}


class Failed(Exception):  # noqa: N818  a refusal is no error of the program's
    """What was asked for is not to be had; *refusal* says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def failed(code: Code, message: str, *, hint: str | None = None, retry_after: timedelta | None = None) -> Failed:
    """Return the exception for *code*, with the usual hint unless a better one is given."""
    return Failed(Refusal(code, clean(message, 2 * LONGEST_QUOTE), hint or HINTS[code], retry_after))


# A token, as it is or as it stands in a URL; or a web identity's, whose three parts may each be shorter.
_LONG_RUN = re.compile(r"(?:[A-Za-z0-9+/=]|%[0-9A-Fa-f]{2}){64,}|eyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


def clean(text: object, longest: int = LONGEST_QUOTE) -> str:
    """Return somebody else's *text* as one short line of printable ASCII, without what looks like a token."""
    line = "".join(
        c if " " <= c <= "~" else " " if c.isspace() or ord(c) < ord(" ") else "?" for c in str(text)[:65536]
    )
    line = _LONG_RUN.sub("(...)", " ".join(line.split()))
    return line if len(line) <= longest else line[: longest - 3] + "..."


def in_words(span: timedelta) -> str:
    """Return *span* as one would say it: ``3 hours``."""
    seconds = span.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


_ACTION = re.compile(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)")


def missing_action(text: str) -> str | None:
    """Return the action that AWS says is not allowed, such as ``ecr:BatchGetImage``."""
    found = _ACTION.search(text)
    return found[1] if found else None


def code_of(error: OSError) -> Code:
    """Name what a socket had to say."""
    if isinstance(error, socket.gaierror):
        return Code.DNS
    if isinstance(error, TimeoutError):
        return Code.DEADLINE
    if isinstance(error, ssl.SSLError):
        return Code.TLS
    return Code.NO_NETWORK


def reason_of(error: OSError) -> str:
    """Say what a socket had to say, in the words of the system, without addresses or paths."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return clean(error.reason or "the handshake failed").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return clean(error.strerror or type(error).__name__).lower()
