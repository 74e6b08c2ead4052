"""Reach a file as its owner would, and stay anchored to what was reached.

Every component is opened on its own, links are read and followed by us, and what counts from then on is the
descriptor: whoever swaps a directory afterwards moves nothing that we do. No openat2: RestrictSUIDSGID= takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from ecrlogind.core.dockerconfig import Trouble
from ecrlogind.courier.refused import RefusedError, refused, shown

_MOST_LINKS = 40  # as the kernel's own walk
_MOST_STEPS = 4096
_ANCHOR = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_OR_OTHERS = 0o022


class _Moved(Exception):  # noqa: N818  # control flow
    """Something was swapped under the walk: begin again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a file may be reached. *home* is None for a `path` destination, whose parents must be trustworthy.

    *mode* and *gid* are those that a `path` destination's missing directories are made for.
    """

    uid: int
    home: str | None = None
    mode: int = 0o600
    gid: int | None = None


@dataclass(slots=True)
class Trail:
    """Where a walk came by. *links* are those followed, as (directory, name); the last of *directories* is the file's.

    With *missing*, that name in the last directory is not there, and it is no file's name but a directory's.
    """

    directories: list[int] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    name: str = ""
    missing: str | None = None
    real: str = "/"

    @property
    def directory(self) -> int:
        """The directory that the file stands in."""
        return self.directories[-1]

    @property
    def path(self) -> str:
        """Where the file really is: for messages only."""
        return os.path.join(self.real, self.name)


@contextlib.contextmanager
def trail() -> Iterator[Trail]:
    """Hold a trail's descriptors open."""
    kept = Trail()
    try:
        yield kept
    finally:
        forget(kept)


def forget(kept: Trail) -> None:
    """Close the descriptors of a trail."""
    for descriptor in kept.directories:
        os.close(descriptor)
    kept.directories.clear()
    kept.links.clear()
    kept.missing = None
    kept.real = "/"


def reach(kept: Trail, path: str, rules: Rules, *, create: bool) -> None:
    """Walk to *path* and leave in *kept* how; raise RefusedError. Missing directories are made only with *create*.

    A refusal leaves the trail as far as it came, so that it can be watched for the cause to go away.
    """
    for _ in range(100):
        forget(kept)
        try:
            _reach(kept, path, rules, create=create)
        except _Moved:
            continue
        except OSError as e:
            raise refused(e, kept.path) from None
        return
    raise RefusedError(Trouble.CONTENDED, f"{shown(path)}: keeps being moved about", "see who does: namei -l")


def _reach(kept: Trail, path: str, rules: Rules, *, create: bool) -> None:
    given = [part for part in path.split("/") if part not in ("", ".")]
    homes = len([part for part in rules.home.split("/") if part not in ("", ".")]) if rules.home is not None else 0
    # What is still to go, the next last. With each part, how deep in the given path it stands; None for a link's.
    todo: list[tuple[str, int | None]] = []
    todo.extend(reversed([(part, depth) for depth, part in enumerate(given, 1)]))
    kept.directories.append(os.open("/", _ANCHOR))
    for _ in range(_MOST_STEPS):
        name, depth = todo.pop()
        kept.name = name
        here = kept.directory
        if name == "..":
            kept.directories.append(os.open("..", _ANCHOR, dir_fd=here))
            kept.real = os.path.dirname(kept.real)
            if not todo:
                raise RefusedError(Trouble.NOT_A_FILE, f"{shown(path)}: a directory", "remove it, or the link to it")
            continue
        try:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        except PermissionError as e:
            raise denied(e, kept, kept.real, rules) from None
        if rules.home is None:
            _trust(kept, status, rules, is_file=not todo)
        if status is None:
            if not todo:
                return
            if depth is None:
                raise RefusedError(
                    Trouble.DANGLING_LINK,
                    f"{shown(path)}: a link leads to {shown(kept.path)}, which is not there",
                    f"mount or make it, or remove the link: namei -l {shown(path)}",
                )
            if rules.home is not None and depth <= homes:
                kept.missing = name
                raise RefusedError(
                    Trouble.NO_HOME,
                    f"the home {shown(rules.home)} is not there",
                    "it is looked for again; mount or make it",
                )
            if not create:
                kept.missing = name
                return
            _make(here, name, rules)
            todo.append((name, depth))
        elif stat.S_ISLNK(status.st_mode):
            _follow(kept, name, todo)
        elif not todo:
            return
        elif stat.S_ISDIR(status.st_mode):
            kept.directories.append(_open_directory(name, here))
            kept.real = kept.path
        else:
            raise refused(NotADirectoryError(errno.ENOTDIR, ""), kept.path)
    raise refused(OSError(errno.ELOOP, ""), path)


def _follow(kept: Trail, name: str, todo: list[tuple[str, int | None]]) -> None:
    here = kept.directory
    try:
        target = os.readlink(name, dir_fd=here)
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT):
            raise _Moved from None
        raise
    kept.links.append((here, name))
    if len(kept.links) > _MOST_LINKS:
        raise OSError(errno.ELOOP, "")
    if target.startswith("/"):
        kept.directories.append(os.open("/", _ANCHOR))
        kept.real = "/"
    parts: list[tuple[str, int | None]] = [(part, None) for part in target.split("/") if part not in ("", ".")]
    if not parts and not todo:
        raise RefusedError(Trouble.NOT_A_FILE, f"{shown(kept.path)}: leads to a directory", "remove that link")
    todo.extend(reversed(parts))


def _open_directory(name: str, here: int) -> int:
    try:
        return os.open(name, _ANCHOR, dir_fd=here)
    except OSError as e:
        if e.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
            raise _Moved from None
        raise


def denied(error: OSError, kept: Trail, path: str, rules: Rules) -> RefusedError:
    """Return the refusal for what the user may not do at *path*."""
    plain = refused(error, path).refusal
    return RefusedError(Trouble(plain.code), plain.message, f"it needs {advice(kept, path, rules)}")


def advice(kept: Trail, path: str, rules: Rules) -> str:
    """Return the command that gives *path* to the user, or where to look.

    What a link leads to, or what stands above a home, is perhaps rightly somebody else's: whoever plants a link to
    /etc/shadow must not have us advise to give it away.
    """
    inside = rules.home is None or path.startswith(rules.home.rstrip("/") + "/")
    if kept.links or not inside:
        return f"another look: namei -l {shown(path)}"
    return f"chown {rules.uid}:{os.getegid()} {shown(path)}"


def _trust(kept: Trail, status: os.stat_result | None, rules: Rules, *, is_file: bool) -> None:
    """Refuse to go on from a directory in which somebody else could put something of theirs in our way."""
    where = os.fstat(kept.directory)
    directory = shown(kept.real)
    if where.st_uid not in (0, rules.uid):
        raise RefusedError(
            Trouble.UNSAFE_PARENT,
            f"{directory} belongs to uid {where.st_uid}, who could swap what is in it",
            f"chown {rules.uid} {directory}",
        )
    if not where.st_mode & _GROUP_OR_OTHERS:
        return
    if not where.st_mode & stat.S_ISVTX:
        raise RefusedError(
            Trouble.UNSAFE_PARENT,
            f"{directory} can be written by others, who could swap what is in it",
            f"chmod go-w {directory}",
        )
    if status is None:
        raise RefusedError(
            Trouble.UNSAFE_PARENT,
            f"{shown(kept.path)} is not there, and in {directory} anybody could make it first",
            f"install {'-m 0600' if is_file else '-d -m 0700'} -o {rules.uid} "
            f"{'/dev/null ' if is_file else ''}{shown(kept.path)}",
        )
    if status.st_uid not in (0, rules.uid):
        raise RefusedError(
            Trouble.UNSAFE_PARENT,
            f"{shown(kept.path)} belongs to uid {status.st_uid}, who could swap it",
            f"chown -h {rules.uid} {shown(kept.path)}",
        )


def _make(here: int, name: str, rules: Rules) -> None:
    """Make a directory: the user's own in a home, else for those who may read the file."""
    try:
        os.mkdir(name, 0o700, dir_fd=here)
    except FileExistsError:
        return
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        if rules.home is None:
            hand_over(made, rules.gid)
            os.fchmod(made, rules.mode | (rules.mode & 0o444) >> 2)
        os.fsync(made)
    finally:
        os.close(made)
    parent = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


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
