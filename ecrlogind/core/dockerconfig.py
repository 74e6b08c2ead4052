"""The text of a config.json: what stands there under our hosts, and how our logins get in without a loss to anybody.

All of it is decided on the text alone, so that "changed" is a comparison.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecrlogind.core import jsontext
from ecrlogind.core.document import (
    HELPERS,
    OUR_HELPER,
    Document,
    Trouble,
    Unfit,
    digest,
    digest_of,
    holds_login,
    is_readable,
    twins,
)
from ecrlogind.core.jsontext import Object
from ecrlogind.core.wire import Found, Refusal, Was

__all__ = [
    "Trouble",
    "Unfit",
    "Wish",
    "bad_entries",
    "carry",
    "digest",
    "digest_of",
    "ends_at",
    "find",
    "legacy_logins",
    "merge",
    "other_helpers",
    "other_logins",
    "shadowed_by",
    "twins",
    "without",
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one file is to say: see `wire.Errand`, whose fields these are. *logins* are in the clear."""

    logins: Mapping[str, str] = field(default_factory=dict, repr=False)
    helpers: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    delivered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expelled: Mapping[str, str] = field(default_factory=dict)
    replace: tuple[str, ...] = ()
    fix_shadows: bool = False

    def may_replace(self, host: str, digest: str) -> bool:
        """Whether a foreign login with *digest* has to make way for ours."""
        return host in self.replace or digest == self.expelled.get(host)


def merge(text: str, wish: Wish) -> str:
    """Return *text* as *wish* wants it: the very same object if it is so already; raise Unfit if it cannot be merged.

    All that is not ours stays byte for byte as it is written.
    """
    document = Document.of(text)
    auths: dict[str, str | None] = {}
    helpers: dict[str, str | None] = {}
    for host in dict.fromkeys((*wish.logins, *wish.helpers, *wish.remove)):
        place = _Place(document, wish, host)
        auths.update(place.auths())
        helpers.update(place.helpers())
    return document.changed(auths, helpers)


def find(text: str, wish: Wish) -> Mapping[str, Found]:
    """Return what stands in *text* under each of our hosts, and what will once *wish* is merged in."""
    document = Document.of(text)
    return {
        host: _Place(document, wish, host).found()
        for host in dict.fromkeys((*wish.logins, *wish.helpers, *wish.remove))
    }


def shadowed_by(text: str, host: str) -> Refusal | None:
    """Return what in *text* makes docker ignore the login for *host* that stands there, None if nothing does."""
    document = Document.of(text)
    shadow = document.shadow(host)
    return None if document.helper(host) == OUR_HELPER else shadow


def bad_entries(text: str) -> tuple[str, ...]:
    """Return the keys under `auths` that docker cannot read: they make it warn, and drop logins when it writes."""
    auths = Document.of(text).auths
    return tuple(key for key, member in auths.members.items() if not is_readable(member.value)) if auths else ()


def other_logins(text: str, wanted: Mapping[str, str | None]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return, by host and key, the entries of *text*, an auth.json, that podman takes for the hosts of *wanted*.

    *wanted* maps them to the auth that they should say: only entries that say another one are returned.
    """
    auths = Document.of(text).auths
    if auths is None:
        return {}
    found = {}
    for host, auth in wanted.items():
        entries = {key: auths.get(key) for key in (host, *twins(host))}
        if others := {key: entry for key, entry in entries.items() if _is_other(entry, auth)}:
            found[host] = others
    return found


def other_helpers(text: str, hosts: Iterable[str]) -> Mapping[str, str]:
    """Return the helpers, not ours, that *text* names for *hosts*."""
    document = Document.of(text)
    helpers = {host: document.helper(host) for host in hosts}
    return {host: helper for host, helper in helpers.items() if helper is not None and helper != OUR_HELPER}


def legacy_logins(text: str, wanted: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return for which hosts of *wanted* (host -> auth) *text*, a ~/.dockercfg, has another login than that.

    There the keys are at the top.
    """
    try:
        found = jsontext.parse(text)
    except jsontext.NotJson:
        return ()
    return tuple(
        host
        for host, auth in wanted.items()
        if found and any(_is_other(found.get(key), auth) for key in (host, *twins(host)))
    )


def _is_other(entry: Any, auth: str | None) -> bool:
    return holds_login(entry) and entry.get("auth") != auth


def without(text: str, keys: Iterable[str]) -> str:
    """Return *text* with *keys* gone from its `auths`."""
    return Document.of(text).changed(dict.fromkeys(keys), {})


def carry(base: str, theirs: str, onto: str) -> str:
    """Return *onto* with what was changed from *base* to *theirs*, where *onto* did not change the same.

    Keys are compared one by one, at the top and one level below; raise Unfit if one of the three cannot be compared.
    """
    before, wanted, now = (Document.of(text).root for text in (base, theirs, onto))
    if now is None:
        return theirs
    if wanted is None:
        return onto
    changes = _changes(before, wanted, now)
    return jsontext.replace(now, jsontext.rewrite(now, changes)) if changes else onto


def ends_at(auth: str) -> int | None:
    """Return when the ECR password in *auth* ends, in Unix seconds; None if it does not say so."""
    try:
        _, _, password = base64.b64decode(auth, validate=True).partition(b":")
        end = json.loads(base64.b64decode(password, validate=True))["expiration"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return None
    return end if type(end) is int and 0 <= end < 1 << 53 else None


@dataclass(frozen=True, slots=True)
class _Place:
    """One of our hosts in one document: what stands there, and what is to."""

    document: Document
    wish: Wish
    host: str

    @property
    def by_helper(self) -> bool:
        """Whether docker is to ask our helper about the host, not the file."""
        if self.host not in self.wish.logins:
            return self.host in self.wish.helpers
        # What a fix once set stays: it may be the only thing that keeps the shadow off.
        return self.wish.fix_shadows and (
            self.document.helper(self.host) == OUR_HELPER or self.document.shadow(self.host) is not None
        )

    @property
    def auth_was(self) -> tuple[Was, str | None]:
        """What stands under `auths`, and its digest if it is a login."""
        entry = self.document.entry(self.host)
        if not holds_login(entry):
            return Was.ABSENT, None
        known = digest_of(entry)
        wanted = self.wish.logins.get(self.host)
        if wanted is not None and entry.get("auth") == wanted:
            return Was.OURS, known
        return (Was.OUTDATED if known in self.wish.delivered.get(self.host, ()) else Was.FOREIGN), known

    @property
    def helper_was(self) -> tuple[Was, str | None]:
        """What `credHelpers` names, and its digest."""
        helper = self.document.helper(self.host)
        if helper is None:
            was, known = self.auth_was
            return (Was.OUTDATED, known) if was in (Was.OURS, Was.OUTDATED) else (Was.ABSENT, None)
        return (Was.OURS if helper == OUR_HELPER else Was.FOREIGN), digest(f"{HELPERS} {helper}")

    def keeps(self, was: Was, known: str | None) -> bool:
        """Whether what stands there is somebody else's and stays."""
        return was is Was.FOREIGN and not self.wish.may_replace(self.host, known or "")

    def found(self) -> Found:
        host, wish = self.host, self.wish
        if self.by_helper:
            was, known = self.helper_was
            foreign = self.keeps(was, known) and not wish.fix_shadows
            return Found(was, not foreign, known if foreign else None)
        was, known = self.auth_was
        if host not in wish.logins:
            if self.document.helper(host) == OUR_HELPER and was is not Was.FOREIGN:
                was = Was.OUTDATED
            foreign = was is Was.FOREIGN
        else:
            foreign = self.keeps(was, known)
        if not foreign:
            shadow = self.document.shadow(host) if host in wish.logins else None
            return Found(was, host in wish.logins, shadow=shadow)
        auth = self.document.entry(host).get("auth")
        return Found(was, is_ours=False, digest=known, ends_at=ends_at(auth) if isinstance(auth, str) else None)

    def auths(self) -> Mapping[str, str | None]:
        """Return what is to change under `auths`."""
        host, wish = self.host, self.wish
        was, known = self.auth_was
        if host in wish.logins and not self.by_helper:
            if self.keeps(was, known):
                return {}
            there = self.document.auths.members if self.document.auths else ()
            return {host: wish.logins[host], **{key: None for key in twins(host) if key in there}}
        ours = {key for key in (host, *twins(host)) if self._is_ours(key)}
        return dict.fromkeys(ours)

    def _is_ours(self, key: str) -> bool:
        entry = self.document.auths.get(key) if self.document.auths else None
        if not holds_login(entry):
            return False
        known = digest_of(entry)
        return entry.get("auth") == self.wish.logins.get(self.host, "") or known in self.wish.delivered.get(
            self.host, ()
        )

    def helpers(self) -> Mapping[str, str | None]:
        """Return what is to change under `credHelpers`."""
        if self.by_helper:
            if self.keeps(*self.helper_was) and not self.wish.fix_shadows:
                return {}
            return {self.host: OUR_HELPER}
        return {self.host: None} if self.document.helper(self.host) == OUR_HELPER else {}


def _changes(before: Object | None, wanted: Object, now: Object) -> dict[str, str | None]:
    """Return what *now* has to change for what was changed from *before* to *wanted*."""
    changes: dict[str, str | None] = {}
    for key in dict.fromkeys((*(before.members if before else ()), *wanted.members)):
        inner, wanted_inner = now.inner(key), wanted.inner(key)
        old, new, here = before.get(key, ...) if before else ..., wanted.get(key, ...), now.get(key, ...)
        if now.depth == 0 and inner is not None and wanted_inner is not None:
            nested = _changes(before.inner(key) if before else None, wanted_inner, inner)
            if nested:
                changes[key] = jsontext.rewrite(inner, nested)
        elif new != old and here == old:
            changes[key] = wanted.raw(key) if key in wanted.members else None
    return changes
