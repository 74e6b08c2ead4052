"""A config.json taken apart as far as we need it: its sections, its entries, what shadows them; and put together again.

Which key a client matches, and what wins over what, is docker's and containers/image's: the bare lower-case host wins,
a stale twin of it can win where it is missing, ``HOST/team-a`` is a login of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeGuard

from ecrlogind.core import jsontext
from ecrlogind.core.jsontext import DuplicateKey, NotJson, Object, TooDeep
from ecrlogind.core.wire import Refusal

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
    # docker, the store that it keeps logins in, and the registry, where `docker login` is used
    NO_DOCKER = "no_docker"
    NO_DAEMON = "no_daemon"
    DAEMON_DENIED = "daemon_denied"
    DOCKER_FAILED = "docker_failed"
    NO_STORE = "no_store"
    STORE_LOCKED = "store_locked"
    STORE_FAILED = "store_failed"
    LOGIN_REFUSED = "login_refused"
    REGISTRY_UNREACHABLE = "registry_unreachable"
    NO_DOCKER_LOGIN_UNIT = "no_docker_login_unit"
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
class Document:
    """A config.json, taken apart as far as we need it. *root* is None for a file with nothing in it."""

    text: str
    root: Object | None
    auths: Object | None
    helpers: Object | None

    @classmethod
    def of(cls, text: str) -> Document:
        """Take *text* apart; raise Unfit, which says what is wrong with it."""
        if not text.strip(" \t\r\n"):
            return cls(text, None, None, None)  # docker reads an empty file as an empty document, and so do we
        if text.startswith("\ufeff"):
            what = "starts with a byte order mark, which docker rejects"
            raise Unfit(Trouble.BYTE_ORDER_MARK, what, r"remove it: sed -i '1s/^\xEF\xBB\xBF//' FILE")
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
        """Return what stands under *host*: an object or None; raise Unfit if it is something else."""
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

    @property
    def store(self) -> str | None:
        """The credential helper named for every registry that has none of its own; None where there is none."""
        store = self.root.get(STORE) if self.root else None
        return store if isinstance(store, str) and store else None

    def shadow(self, host: str) -> Refusal | None:
        """Return what makes docker ask somebody else about *host*, or would if it were not for our helper."""
        helper = self.helper(host)
        if helper and helper != OUR_HELPER:
            return Refusal(
                Trouble.SHADOWED_BY_HELPER,
                f"credHelpers sends {host} to docker-credential-{_shown(helper)}",
                f'remove that entry of credHelpers, or set on_shadow = "fix" to have it say "{OUR_HELPER}"',
            )
        if self.store and helper != "":
            return Refusal(
                Trouble.SHADOWED_BY_STORE,
                f"credsStore sends every registry to docker-credential-{_shown(self.store)}",
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


def twins(host: str) -> tuple[str, ...]:
    """Return the other keys that clients take for the very same as *host*."""
    return tuple(twin.format(host) for twin in _TWINS)


def digest(auth: str) -> str:
    """Return what a login is remembered by: it tells nothing about the password."""
    return hashlib.sha256(auth.encode()).hexdigest()


def _section(root: Object, key: str) -> Object | None:
    if key in root.members and root.inner(key) is None:
        raise Unfit(Trouble.WRONG_SHAPE, f"{key} is not an object", f"make it {{}}, or remove {key}")
    return root.inner(key)


def _written(root: Object, value: Any) -> str:
    return jsontext.written(root, value, depth=2) if isinstance(value, dict) else json.dumps(value)


def holds_login(entry: Any) -> TypeGuard[dict[str, Any]]:
    """Whether docker would log in with *entry*. With a store, docker leaves ``{}`` behind as a mark: that is none."""
    return isinstance(entry, dict) and any(
        entry.get(key) for key in ("auth", "username", "password", "identitytoken", "registrytoken")
    )


def digest_of(entry: Mapping[str, Any]) -> str:
    """Return the digest of the login in *entry*: that of its `auth`, else that of all that it says."""
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        return digest(auth)
    return digest(json.dumps(entry, sort_keys=True))


def is_readable(entry: Any) -> bool:
    """Whether docker can read *entry*."""
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
