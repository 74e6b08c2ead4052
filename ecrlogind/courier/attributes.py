"""What a file has besides its bytes, and what of it the file in its place is to have: mode, group, ACL, label."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from dataclasses import dataclass

from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.courier.refused import RefusedError

_ACL = "system.posix_acl_access"
_LABEL = "security.selinux"
_OWNERS = 0o700
_NONE_THERE = frozenset({errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES})

# linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id, little-endian.
_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_GROUP_OBJ, _ACL_OTHER = 0x04, 0x20


@dataclass(frozen=True, slots=True)
class Attributes:
    """A file's attributes. *acl* and *label* are None where it has none, or where the file system knows none."""

    mode: int
    gid: int | None
    acl: bytes | None = None
    label: bytes | None = None

    @classmethod
    def of(cls, descriptor: int) -> Attributes:
        """Read those of an open file."""
        status = os.fstat(descriptor)
        return cls(stat.S_IMODE(status.st_mode), status.st_gid, _get(descriptor, _ACL), _get(descriptor, _LABEL))

    def wanted(self, mode: int | None, gid: int | None) -> Attributes:
        """Return what a file that holds logins is to have: *mode* and *gid* where given, else its own.

        The own mode loses what group and others had. An ACL stays: whom it names was let in on purpose. Then the
        mode's group bits are its mask, and what the group itself may do stands in the ACL.
        """
        group = self.gid if gid is None else gid
        if mode is not None:
            return Attributes(mode, group, self.acl, self.label)
        if self.acl is None:
            return Attributes(self.mode & _OWNERS, group, None, self.label)
        return Attributes(self.mode & (_OWNERS | 0o070), group, _tightened(self.acl), self.label)

    def give(self, descriptor: int, *, group_matters: bool) -> None:
        """Make the open file have these; raise RefusedError if the group matters and cannot be given.

        The mode comes last: it must not be widened before the ACL and the group are what they shall be.
        """
        if group_matters:
            hand_over(descriptor, self.gid)
        elif self.gid is not None and os.fstat(descriptor).st_gid != self.gid:
            # The group may do nothing with the file, so whose it is matters to nobody.
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, -1, self.gid)
        has = Attributes.of(descriptor)
        if has.acl != self.acl:
            with contextlib.suppress(OSError):
                if self.acl is None:
                    os.removexattr(descriptor, _ACL)
                else:
                    os.setxattr(descriptor, _ACL, self.acl)
        if self.label is not None and has.label != self.label:
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, _LABEL, self.label)
        os.fchmod(descriptor, self.mode)


def hand_over(descriptor: int, gid: int | None) -> None:
    """Give a file of ours to the group *gid*; raise RefusedError if we are not of it."""
    if gid is None or os.fstat(descriptor).st_gid == gid:
        return
    try:
        os.fchown(descriptor, -1, gid)
    except PermissionError:
        raise RefusedError(
            Trouble.WRONG_GROUP,
            f"uid {os.geteuid()} is not of the group {gid} that the file is to have",
            f"usermod -aG {gid} USER, or leave `group` out",
        ) from None


def _get(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except OSError as e:
        if e.errno in _NONE_THERE:
            return None
        raise


def _tightened(acl: bytes) -> bytes:
    head, entries = acl[: _ACL_HEADER.size], acl[_ACL_HEADER.size :]
    if len(entries) % _ACL_ENTRY.size:
        return acl
    return head + b"".join(
        _ACL_ENTRY.pack(tag, 0 if tag in (_ACL_GROUP_OBJ, _ACL_OTHER) else permissions, who)
        for tag, permissions, who in _ACL_ENTRY.iter_unpack(entries)
    )
