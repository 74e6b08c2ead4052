"""What a courier refuses, by name and with advice. All of it plain ASCII: it may end up in STATUS= and the journal."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import string
import sys

from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.core.wire import Refusal

_FS_IOC_GETFLAGS = 0x80086601
_IMMUTABLE_OR_APPEND_ONLY = 0x10 | 0x20

# What stands here is somebody else's state of affairs; anything that is not listed is reported as an I/O error.
_BY_ERRNO = {
    errno.EACCES: (Trouble.PERMISSION_DENIED, "see who may do what there: namei -l {path}"),
    errno.EPERM: (Trouble.PERMISSION_DENIED, "see what forbids it: lsattr -d {path}"),
    errno.EROFS: (
        Trouble.READ_ONLY,
        "mount it writable; under systemd, name its directory in ReadWritePaths= of a drop-in",
    ),
    errno.ENOSPC: (Trouble.NO_SPACE, "make room: df {path}; df -i {path}"),
    errno.EDQUOT: (Trouble.QUOTA, "make room or raise the quota of uid {uid}"),
    errno.EBUSY: (Trouble.BIND_MOUNT, "mount the directory instead of the file: a mounted file cannot be replaced"),
    errno.ELOOP: (Trouble.LINK_LOOP, "see where the links lead: namei -l {path}"),
    errno.EISDIR: (Trouble.NOT_A_FILE, "see what stands there: ls -ld {path}"),
    errno.ENOTDIR: (Trouble.NOT_A_DIRECTORY, "see what stands in the way: namei -l {path}"),
    errno.EMFILE: (Trouble.TOO_MANY_FILES, "raise the limit of open files, or see who holds them: lsof"),
    errno.ENFILE: (Trouble.TOO_MANY_FILES, "raise fs.file-max, or see who holds the files: lsof"),
    # A lease stands on it, and O_NONBLOCK keeps the kernel from waiting for its holder.
    errno.EAGAIN: (Trouble.CONTENDED, "see which program holds it: fuser -v {path}; cat /proc/locks"),
    errno.ENAMETOOLONG: (Trouble.NAME_TOO_LONG, "choose a shorter path"),
    errno.ESTALE: (Trouble.FILE_SERVER, "see to the file server, or mount it anew"),
    errno.ETIMEDOUT: (Trouble.FILE_SERVER, "see to the file server, or mount it anew"),
    errno.EHOSTDOWN: (Trouble.FILE_SERVER, "see to the file server, or mount it anew"),
    errno.ENOTCONN: (Trouble.FILE_SERVER, "see to the file server, or mount it anew"),
}


_PRINTABLE = range(0x20, 0x7F)
_PLAIN = (string.ascii_letters + string.digits + "/._- ").encode()


class RefusedError(Exception):
    """The errand cannot be done, for a reason outside of us; *refusal* says which."""

    def __init__(self, code: Trouble, message: str, hint: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message, hint)


def refused(error: OSError, path: str) -> RefusedError:
    """Return what the system's *error* at *path* means."""
    code, hint = _BY_ERRNO.get(error.errno or 0, (Trouble.IO_ERROR, "see the kernel's log: dmesg"))
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    message = f"{shown(path)}: {os.strerror(error.errno or 0)} ({name})"
    if error.errno == errno.EPERM and (fixed := _immutable(path)):
        code, hint = Trouble.IMMUTABLE, f"chattr -i -a {shown(fixed)}"
    return RefusedError(code, message, hint.format(uid=os.geteuid(), gid=os.getegid(), path=shown(path)))


def shown(path: str) -> str:
    """Return *path* as a shell takes it, in one line of plain ASCII whatever is in it."""
    raw = os.fsencode(path)
    if all(byte in _PRINTABLE for byte in raw):
        return shlex.quote(path)
    return "$'" + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in raw) + "'"


def _immutable(path: str) -> str | None:
    """Return *path* or its directory if it is immutable or append-only. It only words the advice, so races are fine."""
    for each in (path, path.rpartition("/")[0] or "/"):
        try:
            descriptor = os.open(each, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8))[:4], sys.byteorder)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        if flags & _IMMUTABLE_OR_APPEND_ONLY:
            return each
    return None
