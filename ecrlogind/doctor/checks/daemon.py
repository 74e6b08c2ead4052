"""The keeper: whether it runs, is ready, and still speaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ecrlogind.doctor.evidence import Evidence, Keeper
from ecrlogind.doctor.finding import Finding

# A pass runs every minute at the least, and each writes the status.
_SILENT = 300


def check(evidence: Evidence) -> Iterator[Finding]:
    """Look at the status document, its pid and its age."""
    keeper = evidence.keeper
    if keeper.document is None and keeper.error not in ("", "No such file or directory"):
        is_closed = keeper.error == "Permission denied"
        yield Finding(
            "status_unreadable",
            f"{keeper.state}/status.json cannot be read: {keeper.error}",
            "status, wait, the helper and this doctor go by it",
            f"`sudo chmod a+rX {keeper.state} {keeper.state}/status.json`"
            if is_closed
            else "`sudo systemctl restart ecrlogind`, which writes it anew",
        )
    elif keeper.document is None or not keeper.running:
        yield Finding(
            "not_running",
            f"no ecrlogind runs with the state directory {keeper.state}",
            "nothing logs in or renews; a login that is still there ends within 12 hours of its issue",
            "`sudo systemctl enable --now ecrlogind`; if it does not stay: `journalctl -u ecrlogind -b --no-pager`",
        )
    elif not keeper.document["ready"] and not _says_why(keeper):
        yield Finding(
            "not_ready",
            "ecrlogind is still starting: not every registry has been logged in to or refused",
            "a job that starts now may find no login",
            "`ecrlogind wait`; `ecrlogind status` says what it waits for",
        )
    elif evidence.now - datetime.fromisoformat(keeper.document["updated_at"]).timestamp() > _SILENT:
        yield Finding(
            "silent",
            f"ecrlogind runs (pid {keeper.document['pid']}) but has said nothing since {keeper.document['updated_at']}",
            "a keeper that hangs renews nothing, and its status is old",
            "`sudo systemctl restart ecrlogind`; what it hung in is in `journalctl -u ecrlogind --no-pager`",
        )


def _says_why(keeper: Keeper) -> bool:
    """Whether the status has a reason for that the keeper is not ready: then that is what other checks tell."""
    return bool(keeper.document and keeper.document["problem"]) or any(row["error"] for row in keeper.registries)
