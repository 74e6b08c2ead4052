"""The text of a config.json: what stands there under our hosts, and how our logins get in without a loss to anybody.

Which key a client matches, and what wins over what, is docker's and containers/image's (facts, section 2): the bare
lower-case host wins, a stale twin of it can win where it is missing, ``HOST/team-a`` is a login of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from ecrlogind.core import jsontext
from ecrlogind.core.jsontext import DuplicateKey, NotJson, Object, TooDeep
from ecrlogind.core.wire import Found, Refusal, Was

AUTHS = "auths"
HELPERS = "credHelpers"
STORE = "credsStore"
OUR_HELPER = "ecrlogind"

_TWINS = tuple(f"{scheme}://{{}}{end}" for scheme in ("https", "http") for end in ("", "/", "/v1/", "/v2/"))


class Trouble(StrEnum):
    """Why a file was left alone, or what about it is worth a word. Stable: status, journal and metrics show them."""

    # the text
    INVALID_JSON = "invalid_json"
    BYTE_ORDER_MARK = "byte_order_mark"
    WRONG_SHAPE = "wrong_shape"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    # the file and the way to it
    NOT_A_FILE = "not_a_file"
    NOT_A_DIRECTORY = "not_a_directory"
    WRONG_OWNER = "wrong_owner"
    WRONG_GROUP = "wrong_group"
    PERMISSION_DENIED = "permission_denied"
    IMMUTABLE = "immutable"
    READ_ONLY = "read_only"
    NO_SPACE = "no_space"
    QUOTA = "quota"
    IO_ERROR = "io_error"
    TOO_MANY_FILES = "too_many_files"
    NAME_TOO_LONG = "name_too_long"
    BIND_MOUNT = "bind_mount"
    LINK_LOOP = "link_loop"
    DANGLING_LINK = "dangling_link"
    UNSAFE_PARENT = "unsafe_parent"
    NO_HOME = "no_home"
    FILE_SERVER = "file_server"
    DEADLINE = "deadline"
    CONTENDED = "contended"
    REPORT_TOO_LONG = "report_too_long"
    # shadows: another setting makes a client ignore our login
    SHADOWED_BY_STORE = "shadowed_by_store"
    SHADOWED_BY_HELPER = "shadowed_by_helper"
    SHADOWED_BY_AUTH_JSON = "shadowed_by_auth_json"
    SHADOWED_BY_DOCKERCFG = "shadowed_by_dockercfg"
    # notes
    WEAKER_SWAP = "weaker_swap"
    NO_LEASE = "no_lease"
    LEFT_BESIDE = "left_beside"
    BAD_ENTRY = "bad_entry"
    HARD_LINK = "hard_link"
    NO_WATCH = "no_watch"


class Unfit(ValueError):  # noqa: N818  # a finding, not a bug
    """The text is not a config.json that can be merged with; *code* and the message say why, *hint* what to do."""

    def __init__(self, code: Trouble, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Wish:
    """What one file is to say: see `wire.Errand`, whose fields these are. *logins* are in the clear."""

    logins: Mapping[str, str] = field(default_factory=dict, repr=False)
    helpers: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    delivered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expelled: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    fix_shadows: bool = False

    def may_replace(self, host: str, digest: str) -> bool:
        """Whether a foreign login with *digest* has to make way for ours."""
        return host in self.replace or digest in self.expelled


def merge(text: str, wish: Wish) -> str:
    """Return *text* as *wish* wants it: the very same object if it is so already; raise Unfit if it cannot be merged.

    All that is not ours stays byte for byte as it is written.
    """
    document = _Document.of(text)
    auths: dict[str, str | None] = {}
    helpers: dict[str, str | None] = {}
    for host in dict.fromkeys((*wish.logins, *wish.helpers, *wish.remove)):
        place = _Place(document, wish, host)
        auths.update(place.auths())
        helpers.update(place.helpers())
    return document.changed(auths, helpers)


def find(text: str, wish: Wish) -> Mapping[str, Found]:
    """Return what stands in *text* under each of our hosts, and what will once *wish* is merged in."""
    document = _Document.of(text)
    return {
        host: _Place(document, wish, host).found()
        for host in dict.fromkeys((*wish.logins, *wish.helpers, *wish.remove))
    }


def shadowed_by(text: str, host: str) -> Refusal | None:
    """Return what in *text* makes docker ignore the login for *host* that stands there, None if nothing does."""
    document = _Document.of(text)
    shadow = document.shadow(host)
    return None if document.helper(host) == OUR_HELPER else shadow


def bad_entries(text: str) -> tuple[str, ...]:
    """Return the keys under `auths` that docker cannot read: they make it warn, and drop logins when it writes."""
    auths = _Document.of(text).auths
    return tuple(key for key, member in auths.members.items() if not _is_readable(member.value)) if auths else ()


def foreign_login(text: str, host: str, auth: str | None) -> Mapping[str, str]:
    """Return the logins in *text* that containers/image would take for *host* and that are not *auth*: key → digest."""
    document = _Document.of(text)
    found = {}
    for key in (host, *twins(host)):
        entry = document.auths.get(key) if document.auths else None
        if _holds_login(entry) and entry.get("auth") != auth:
            found[key] = _digest_of(entry)
    return found


def legacy_login(text: str, host: str, auth: str | None) -> bool:
    """Whether *text*, a ~/.dockercfg, holds a login for *host* other than *auth*: there the keys are at the top."""
    found = jsontext.parse(text)
    entries = [found.get(key) for key in (host, *twins(host))] if found else []
    return any(_holds_login(entry) and entry.get("auth") != auth for entry in entries)


def without(text: str, keys: Iterable[str]) -> str:
    """Return *text* with *keys* gone from its `auths`."""
    return _Document.of(text).changed(dict.fromkeys(keys), {})


def carry(base: str, theirs: str, onto: str) -> str:
    """Return *onto* with what was changed from *base* to *theirs*, where *onto* did not change the same.

    Keys are compared one by one, at the top and one level below; raise Unfit if one of the three cannot be compared.
    """
    before, wanted, now = (_Document.of(text).root for text in (base, theirs, onto))
    if now is None:
        return theirs
    if wanted is None:
        return onto
    changes: dict[str, str | None] = {}
    for key in dict.fromkeys((*(before.members if before else ()), *wanted.members)):
        old, new, here = before.get(key) if before else None, wanted.get(key), now.get(key)
        inner = now.inner(key)
        theirs_inner = wanted.inner(key)
        if inner is not None and theirs_inner is not None:
            nested = _changes(before.inner(key) if before else None, theirs_inner, inner)
            if nested:
                changes[key] = jsontext.rewrite(inner, nested)
        elif new != old and here == old:
            changes[key] = wanted.raw(key) if key in wanted.members else None
    return jsontext.replace(now, jsontext.rewrite(now, changes)) if changes else onto


def digest(auth: str) -> str:
    """Return what a login is remembered by: it tells nothing about the password."""
    return hashlib.sha256(auth.encode()).hexdigest()


def ends_at(auth: str) -> int | None:
    """Return when the ECR password in *auth* ends, in Unix seconds; None if it does not say so."""
    try:
        _, _, password = base64.b64decode(auth, validate=True).partition(b":")
        end = json.loads(base64.b64decode(password, validate=True))["expiration"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        return None
    return end if type(end) is int and 0 <= end < 1 << 53 else None


def twins(host: str) -> tuple[str, ...]:
    """Return the other keys that clients take for the very same as *host*."""
    return tuple(twin.format(host) for twin in _TWINS)


@dataclass(frozen=True, slots=True)
class _Document:
    """A config.json, taken apart as far as we need it. *root* is None for a file with nothing in it."""

    text: str
    root: Object | None
    auths: Object | None
    helpers: Object | None

    @classmethod
    def of(cls, text: str) -> _Document:
        if not text.strip(" \t\r\n"):
            return cls(text, None, None, None)  # docker reads an empty file as an empty document, and so do we
        try:
            root = jsontext.parse(text)
        except DuplicateKey as e:
            raise Unfit(Trouble.DUPLICATE_KEY, str(e), "leave one of the two; clients differ on which counts") from None
        except TooDeep as e:
            raise Unfit(Trouble.TOO_DEEP, str(e), "no client writes such a file: move it away") from None
        except NotJson as e:
            raise Unfit(Trouble.INVALID_JSON, f"not valid JSON: {e}", "mend it by hand, or move it away") from None
        if root is None:
            raise Unfit(Trouble.WRONG_SHAPE, "not an object: it must start with {", "mend it by hand, or move it away")
        store = root.get(STORE)
        if store is not None and not isinstance(store, str):
            raise Unfit(Trouble.WRONG_SHAPE, f"{STORE} is not a string", "name a credential helper, or remove the key")
        return cls(text, root, _section(root, AUTHS), _section(root, HELPERS))

    def entry(self, host: str) -> Any:
        entry = self.auths.get(host) if self.auths else None
        if entry is not None and not isinstance(entry, dict):
            raise Unfit(Trouble.WRONG_SHAPE, f"the entry for {host} is not an object", "remove that entry")
        return entry

    def helper(self, host: str) -> str | None:
        """Return the credential helper named for *host*; "" opts the host out of the store."""
        helper = self.helpers.get(host) if self.helpers else None
        if helper is not None and not isinstance(helper, str):
            raise Unfit(Trouble.WRONG_SHAPE, f"{HELPERS} for {host} is not a string", "name a helper, or remove it")
        return helper

    def shadow(self, host: str) -> Refusal | None:
        """Return what makes docker ask somebody else about *host*, or would if it were not for our helper."""
        helper = self.helper(host)
        if helper and helper != OUR_HELPER:
            return Refusal(
                Trouble.SHADOWED_BY_HELPER,
                f"credHelpers sends {host} to docker-credential-{_shown(helper)}",
                f'remove that entry of credHelpers, or set on_shadow = "fix" to have it say "{OUR_HELPER}"',
            )
        store = self.root.get(STORE) if self.root else None
        if store and helper != "":
            return Refusal(
                Trouble.SHADOWED_BY_STORE,
                f"credsStore sends every registry to docker-credential-{_shown(store)}",
                f'remove credsStore, or set on_shadow = "fix" to have credHelpers name "{OUR_HELPER}" for this host',
            )
        return None

    def changed(self, auths: Mapping[str, str | None], helpers: Mapping[str, str | None]) -> str:
        """Return the text with *auths* and *helpers* set: an auth's or a helper's name by host, None to remove."""
        root = self.root
        if root is None:
            if not any(auths.values()) and not any(helpers.values()):
                return self.text
            root = jsontext.parse("{}")
        if root is None:
            raise AssertionError("an empty object is an object")
        changes: dict[str, str | None] = {}
        for key, section, wanted in (
            (AUTHS, self.auths, {host: auth and {"auth": auth} for host, auth in auths.items()}),
            (HELPERS, self.helpers, helpers),
        ):
            if section is not None:
                edits = {
                    host: _written(root, value) if value is not None else None
                    for host, value in wanted.items()
                    if section.get(host) != value
                }
                if edits:
                    changes[key] = jsontext.rewrite(section, edits)
            else:
                new = {host: value for host, value in sorted(wanted.items()) if value is not None}
                if new:
                    changes[key] = jsontext.written(root, new, depth=1)
        return jsontext.replace(root, jsontext.rewrite(root, changes)) if changes else self.text


@dataclass(frozen=True, slots=True)
class _Place:
    """One of our hosts in one document: what stands there, and what is to."""

    document: _Document
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
        if not _holds_login(entry):
            return Was.ABSENT, None
        known = _digest_of(entry)
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
            return {host: wish.logins[host], **dict.fromkeys(twins(host))}
        ours = {key for key in (host, *twins(host)) if self._is_ours(key)}
        return dict.fromkeys(ours)

    def _is_ours(self, key: str) -> bool:
        entry = self.document.auths.get(key) if self.document.auths else None
        if not _holds_login(entry):
            return False
        known = _digest_of(entry)
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


def _section(root: Object, key: str) -> Object | None:
    if key in root.members and root.inner(key) is None:
        raise Unfit(Trouble.WRONG_SHAPE, f"{key} is not an object", f"make it {{}}, or remove {key}")
    return root.inner(key)


def _written(root: Object, value: Any) -> str:
    return jsontext.written(root, value, depth=2) if isinstance(value, dict) else json.dumps(value)


def _changes(before: Object | None, wanted: Object, now: Object) -> dict[str, str | None]:
    changes: dict[str, str | None] = {}
    for key in dict.fromkeys((*(before.members if before else ()), *wanted.members)):
        old, new = before.get(key) if before else None, wanted.get(key)
        if new != old and now.get(key) == old:
            changes[key] = wanted.raw(key) if key in wanted.members else None
    return changes


def _holds_login(entry: Any) -> TypeGuard[dict[str, Any]]:
    """Whether docker would log in with *entry*. With a store, docker leaves ``{}`` behind as a mark: that is none."""
    return isinstance(entry, dict) and any(
        entry.get(key) for key in ("auth", "username", "password", "identitytoken", "registrytoken")
    )


def _digest_of(entry: Mapping[str, Any]) -> str:
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        return digest(auth)
    return digest(json.dumps(entry, sort_keys=True))


def _is_readable(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    auth = entry.get("auth", "")
    if not isinstance(auth, str):
        return False
    try:
        # Go's decoder skips line ends and wants the padding.
        return not auth or b":" in base64.b64decode(auth.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False


def _shown(name: str) -> str:
    """Return a word from somebody else's file so that it can stand in a message."""
    return ascii(name)[1:-1][:60]
