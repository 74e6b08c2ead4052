"""The answers on disk: one directory a user, one file a host, readable by root and that user alone.

They belong to whom the keeper runs as, and an ACL lets the user read: a directory of the user's own could be filled
with other answers, or opened to others. Setting an ACL as owner needs no capability. It has to be the last word on
the file's rights, since a chmod after it would change its mask.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ecrlogind.core.wire import Refusal

_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*", re.ASCII)
_NEW = ".new"  # hosts begin with no dot, and one keeper writes at a time

# The xattr's form, little-endian: a version, then entries of tag, permissions and id (linux/posix_acl_xattr.h).
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ, _WRITE, _ENTER = 4, 2, 1
_NOBODY = 0xFFFFFFFF  # the id of an entry that names nobody
_NO_ACLS = (errno.ENOTSUP, errno.EOPNOTSUPP)  # the file system has none


class Answers:
    """`answers` in a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "answers"

    def publish(self, wanted: Mapping[tuple[int, str], str]) -> tuple[Refusal, ...]:
        """Make the directory say *wanted*, a text by uid and host, and nothing else; return what could not be.

        What stands there already is not written again. A user whom this fails for holds up no other. Without root
        there are answers for one's own uid only: no other could reach the state directory.
        """
        users: dict[int, dict[str, str]] = {}
        for (uid, host), text in wanted.items():
            users.setdefault(uid, {})[host] = text
        refusals = []
        try:
            _make_directory(self._root, 0o711)
            stale = _names(self._root) - {str(uid) for uid in users if os.geteuid() in (0, uid)}
        except OSError as error:
            return (_refusal(f"the answers in {self._root}", error),)
        for name in sorted(stale):
            try:
                _clear(self._root / name)
            except OSError as error:
                refusals.append(_refusal("answers that nobody is to have", error))
        for uid, texts in sorted(users.items()):
            if os.geteuid() not in (0, uid):
                refusals.append(_not_ours(uid))
                continue
            try:
                self._publish_for(uid, texts)
            except OSError as error:
                refusals.append(_refusal(f"the answers for uid {uid}", error))
                _withdraw(self._root / str(uid), error)
        return tuple(refusals)

    def _publish_for(self, uid: int, texts: Mapping[str, str]) -> None:
        directory = self._root / str(uid)
        _make_directory(directory, 0o700)
        _admit(directory, uid, _READ | _WRITE | _ENTER, _READ | _ENTER)
        stale = _names(directory) - texts.keys()
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in stale:
                os.unlink(name, dir_fd=descriptor)
            for host, text in texts.items():
                if not _HOST.fullmatch(host):
                    raise ValueError("a host that is no file name")
                content = text.encode("ascii")
                if not _stands(host, content, uid, directory=descriptor):
                    _write(host, content, uid, directory=descriptor)
        finally:
            os.close(descriptor)


def _acl(uid: int, owner: int, user: int) -> bytes:
    """Return the ACL that gives *owner* to the owner, *user* to *uid*, and nothing to the group and others."""
    entries = (
        (_OWNER, owner, _NOBODY),
        (_USER, user, uid),
        (_GROUP, 0, _NOBODY),
        (_MASK, user, _NOBODY),
        (_OTHER, 0, _NOBODY),
    )
    return _ACL_VERSION + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _admit(place: Path | int, uid: int, owner: int, user: int) -> None:
    """Let *uid* in by an ACL, unless *place* (a path or a descriptor) is that user's own or says so already."""
    if uid == os.geteuid():
        return
    acl = _acl(uid, owner, user)
    if _standing_acl(place) != acl:
        os.setxattr(place, _ACL, acl)


def _standing_acl(place: Path | int) -> bytes | None:
    try:
        return os.getxattr(place, _ACL)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise


def _stands(name: str, content: bytes, uid: int, *, directory: int) -> bool:
    """Whether *name* in *directory* holds *content* and *uid* may read it."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        if file.read(len(content) + 1) != content:
            return False
        return uid == os.geteuid() or _standing_acl(descriptor) == _acl(uid, _READ | _WRITE, _READ)


def _write(name: str, content: bytes, uid: int, *, directory: int) -> None:
    """Put *content* at *name* in *directory*, whole and readable by *uid* from the first moment on.

    It is not flushed: the state directory is memory, and after a crash nothing of it counts.
    """
    with suppress(FileNotFoundError):
        os.unlink(_NEW, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(_NEW, flags, 0o600, dir_fd=directory), "wb") as file:
        file.write(content)
        file.flush()
        _admit(file.fileno(), uid, _READ | _WRITE, _READ)
    os.replace(_NEW, name, src_dir_fd=directory, dst_dir_fd=directory)


def _make_directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode)
    except FileExistsError:
        return
    path.chmod(mode)  # before any ACL: the umask may have taken bits away


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def _clear(directory: Path) -> None:
    """Take a user's directory away with all that is in it."""
    for name in _names(directory):
        (directory / name).unlink()
    directory.rmdir()


def _withdraw(directory: Path, error: OSError) -> None:
    """Where the user cannot be let in, leave no secret that nobody reads."""
    if error.errno in _NO_ACLS:
        with suppress(OSError):
            _clear(directory)


def _not_ours(uid: int) -> Refusal:
    return Refusal(
        "answers_other_user",
        f"the answers for uid {uid} are not kept: this keeper does not run as root",
        "Run the keeper as root, or take that user out of the destinations.",
    )


def _refusal(what: str, error: OSError) -> Refusal:
    if error.errno in _NO_ACLS:
        return Refusal(
            "answers_no_acl",
            f"{what} cannot be opened to that user: the file system of the state directory has no ACLs",
            "Mount one that has (tmpfs does), or deliver to that user with via = file.",
        )
    where = f" ({error.filename})" if error.filename else ""
    return Refusal(
        "answers_unwritable",
        f"{what} cannot be written or removed: {error.strerror}{where}",
        "Look at the space and the rights there: the state directory is to belong to whom the keeper runs as.",
    )
