"""The record of calls: who asked for what, as CloudTrail would tell it, and hung calls as well."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One call, from the moment it arrived.

    *service* is ``ecr``, ``ecr-public``, ``sts``, ``imds``, ``registry`` or ``other``. *action* is AWS's name
    (``GetAuthorizationToken``, ``AssumeRole``, ``AssumeRoleWithWebIdentity``, ``GetCallerIdentity``), for IMDS one of
    ``token document role credentials region instance-id other``, for the registry one of
    ``ping manifest token upload other``. *region* is the signature's, for a registry its host's. *identity* is the ARN
    that signed, for a registry the one whose password it was; *role* the ARN of its role. *session_policy*,
    *session_name*, *external_id*, *duration* and *target* (the role's ARN) are what an AssumeRole asked for, and
    *session_policy* of another call is what its identity is bound by. *status* is None until answered; *fault* names
    what was done to it.
    """

    at: float
    service: str
    action: str
    method: str
    path: str
    host: str
    region: str | None = None
    access_key: str | None = None
    identity: str | None = None
    account: str | None = None
    role: str | None = None
    session_name: str | None = None
    session_policy: str | None = None
    external_id: str | None = None
    duration: int | None = None
    target: str | None = None
    user_agent: str = ""
    secure: bool = False
    proxied: bool = False
    status: int | None = None
    fault: str | None = None


class Calls:
    """All calls so far. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: dict[int, Record] = {}
        self._next = 0

    def add(self, record: Record) -> int:
        """Write a call down; the number is for `answered`."""
        with self._changed:
            self._next += 1
            self._records[self._next] = record
            self._changed.notify_all()
            return self._next

    def answered(self, number: int, status: int | None, fault: str | None) -> None:
        """Say how a call ended."""
        with self._changed:
            if number in self._records:
                self._records[number] = replace(self._records[number], status=status, fault=fault)
                self._changed.notify_all()

    def forget(self) -> None:
        """Start anew."""
        with self._changed:
            self._records.clear()

    def matching(self, **wanted: Any) -> list[Record]:
        """Return the calls whose fields equal what is *wanted*, in order of arrival."""
        with self._changed:
            return self._matching(wanted)

    def wait(self, count: int, timeout: float, **wanted: Any) -> list[Record]:
        """Return the matching calls once there are *count*; raise TimeoutError after *timeout* seconds."""
        ends_at = time.monotonic() + timeout
        with self._changed:
            while len(found := self._matching(wanted)) < count:
                left = ends_at - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{len(found)} of {count} calls with {wanted} within {timeout} s")
                self._changed.wait(left)
            return found

    def _matching(self, wanted: dict[str, Any]) -> list[Record]:
        unknown = wanted.keys() - {each.name for each in fields(Record)}
        if unknown:
            raise TypeError(f"a record has no {', '.join(sorted(unknown))}")
        return [
            record
            for record in self._records.values()
            if all(getattr(record, name) == value for name, value in wanted.items())
        ]
