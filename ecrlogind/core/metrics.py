"""Metrics: from status documents to samples, by Prometheus's rules for names and units.

A timestamp says when, never how much is left: the file stands still between two passes, and clocks go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

DURATION = "ecrlogind_pass_duration_seconds"

# Every state is there, with 0 too: a rule about a series that comes and goes is hard to write.
LOGIN_STATES = ("in_place", "drifted", "foreign", "shadowed", "expired", "failed", "pending")


class Kind(StrEnum):
    """What Prometheus may do with a metric."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric with its samples: the values by those of *labels*, in that order."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...]
    samples: Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Counters:
    """What a status document cannot say, since it forgets: failures by registry and code, and when each last failed.

    *seen* is, by row, how the failures stood when they were counted: how many in a row, and the error's code.
    """

    failures: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    seen: Mapping[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)

    def after(self, document: Mapping[str, Any]) -> Counters:
        """Return the counters once *document*, which follows what was seen before, is counted too.

        A refusal of AWS's counts each time; a registry's objection to a credential counts when it is first made.
        """
        failures = dict(self.failures)
        seen: dict[tuple[str, ...], tuple[int, str]] = {}
        for row in document["registries"]:
            key = (row["name"], row["host"] or "", row["identity"])
            code = row["error"]["code"] if row["error"] else ""
            before, code_before = self.seen.get(key, (0, ""))
            seen[key] = (row["failures"], code)
            new = row["failures"] - before if row["failures"] >= before else row["failures"]
            if not row["failures"] and code != code_before:
                new = 1
            if code and new:
                of = (_label(row), code)
                failures[of] = failures.get(of, 0) + new
        return Counters(failures, seen)


def metrics(document: Mapping[str, Any], counters: Counters, pass_took: timedelta, version: str) -> Iterator[Metric]:
    """Yield everything that is said of a host.

    A registry is known by its host name. Where two identities serve one host, the sample is that of the worse.
    """
    yield Metric(
        "ecrlogind_credential_expiry_timestamp_seconds",
        "When the credential that is held for the registry expires, in Unix time.",
        Kind.GAUGE,
        ("registry",),
        _earliest(document, "expires_at"),
    )
    yield Metric(
        "ecrlogind_last_success_timestamp_seconds",
        "When AWS last issued a credential for the registry, in Unix time.",
        Kind.GAUGE,
        ("registry",),
        _earliest(document, "issued_at"),
    )
    yield Metric(
        "ecrlogind_failures_total",
        "How often no usable credential was to be had for the registry since the keeper started, by reason.",
        Kind.COUNTER,
        ("registry", "code"),
        dict(counters.failures),
    )
    states = [login["state"] for login in document["logins"]]
    yield Metric(
        "ecrlogind_logins",
        "How many logins are in the state.",
        Kind.GAUGE,
        ("state",),
        {(state,): states.count(state) for state in LOGIN_STATES},
    )
    yield Metric(
        DURATION,
        "How long the last pass took.",
        Kind.GAUGE,
        (),
        {(): pass_took.total_seconds()},
    )
    yield Metric("ecrlogind_build_info", "Which ecrlogind this is.", Kind.GAUGE, ("version",), {(version,): 1})


def _label(row: Mapping[str, Any]) -> str:
    """Return what a registry is called: its host, and the name in the settings while that is not known."""
    return str(row["host"] or row["name"])


def _earliest(document: Mapping[str, Any], key: str) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for row in document["registries"]:
        if row[key] is not None:
            at = datetime.fromisoformat(row[key]).timestamp()
            found[_label(row),] = min(at, found.get((_label(row),), at))
    return found
