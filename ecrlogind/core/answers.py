"""What the clients' side is told: the text of one answers file, for one user and one host.

Two lines. The first is the end of the credential's life in whole seconds of /proc/uptime (which counts CLOCK_BOOTTIME,
as `SinceBoot` does), 0 while none is held. The second is then the reason, as ``CODE: what; what to do``, else the JSON
that Docker's credential helpers print. The shell scripts in bin/ take both lines apart by pattern: the order of the
keys, the absence of blanks and the codes are theirs to rely on.
"""

from __future__ import annotations

import json
from datetime import timedelta

from ecrlogind.core.credential import Credential, SinceBoot
from ecrlogind.core.standing import Standing
from ecrlogind.core.status import Facts
from ecrlogind.core.wire import Refusal

# What stands there until AWS has been asked. Waiting cures it: the provider of kubelet does.
PENDING = Refusal("pending", "no credential has been issued yet", "see: ecrlogind status")

_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


def answer_text(
    credential: Credential | None,
    host: str,
    reason: Refusal | None,
    now: SinceBoot,
    shift: timedelta = timedelta(0),
) -> str:
    """Return the text for *host*: of *credential* while it lives, else of the *reason* why there is none.

    *shift* is by how much /proc/uptime is ahead of the time since boot.
    """
    if credential is not None:
        # Rounded down: who compares whole seconds must not take it for alive in its last, broken one.
        end = int((credential.expires_at + shift).total_seconds())
        if end > int((now + shift).total_seconds()):
            said = {"ServerURL": host, "Username": credential.username, "Secret": credential.password.reveal()}
            return f"{end}\n{_COMPACT(said)}\n"
        reason = reason or Refusal("expired", "the credential has expired and was not renewed", "see: ecrlogind status")
    reason = reason or PENDING
    return f"0\n{_one_line(f'{reason.code}: {reason.message}; {reason.hint}')}\n"


def texts(facts: Facts, uptime: SinceBoot) -> dict[tuple[int, str], str]:
    """Return what each answers file is to say, by uid and host.

    *uptime* is what /proc/uptime says now: in some containers that is not the time since boot, and it is all that a
    shell script can see.
    """
    shift = uptime - facts.now
    shift = shift if abs(shift) > timedelta(seconds=1) else timedelta(0)  # two clocks are never read at one moment
    found = {}
    for (uid, host), call in facts.desired.answers.items():
        standing = facts.standings.get(call, Standing())
        found[uid, host] = answer_text(standing.credential, host, standing.refusal, facts.now, shift)
    return found


def _one_line(text: str) -> str:
    """Return *text* as printable ASCII: it goes to terminals and through a reader of lines."""
    return "".join(char if " " <= char <= "~" else "?" for char in " ".join(text.split()))
