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
from ecrlogind.courier.attributes import hand_over
from ecrlogind.courier.refused import RefusedError, refused, shown

_MOST_LINKS = 40  # as the kernel's own walk
_MOST_STEPS = 4096
_MOST_TRIES = 1000
_ANCHOR = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_OR_OTHERS = 0o022
_ANYBODYS = stat.S_ISVTX | 0o002


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
    """Where a walk came by, held by descriptors: *directories* in order, and *links* as (directory, name).

    *name* is the last component, *real* the path of its directory once all links are followed: for messages only. With
    *missing*, that directory is not there, and the last of *directories* is the nearest above it. *own_links* counts
    the links at or below the home, *home* is where that really is.
    """

    directories: list[int] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    name: str = ""
    missing: str | None = None
    real: str = "/"
    home: str | None = None
    own_links: int = 0

    @property
    def directory(self) -> int:
        """The directory that the walk has come to: at its end the file's."""
        return self.directories[-1]

    @property
    def path(self) -> str:
        """Where *name* really is."""
        return f"{self.real.rstrip('/')}/{self.name}"

    def forget(self) -> None:
        """Close the descriptors, and begin anew."""
        for descriptor in self.directories:
            os.close(descriptor)
        self.directories.clear()
        self.links.clear()
        self.missing = self.home = None
        self.real, self.own_links = "/", 0


@contextlib.contextmanager
def trail() -> Iterator[Trail]:
    """Hold a trail's descriptors open."""
    kept = Trail()
    try:
        yield kept
    finally:
        kept.forget()


def reach(kept: Trail, path: str, rules: Rules, *, create: bool) -> None:
    """Walk to *path* and leave in *kept* how; raise RefusedError. Missing directories are made only with *create*.

    A refusal leaves the trail as far as it came, so that it can be watched for the cause to go away.
    """
    for _ in range(_MOST_TRIES):
        kept.forget()
        try:
            _Walk(kept, path, rules, create=create).run()
        except _Moved:
            continue
        except OSError as e:
            raise refused(e, kept.path) from None
        return
    raise RefusedError(
        Trouble.CONTENDED,
        f"{shown(path)}: directories on the way keep being swapped",
        f"see how: namei -l {shown(path)}",
    )


class _Walk:
    """One try to reach a file, component by component."""

    def __init__(self, kept: Trail, path: str, rules: Rules, *, create: bool) -> None:
        self._kept = kept
        self._path = path
        self._rules = rules
        self._create = create
        self._homes = len(_parts(rules.home or ""))
        # What is still to go, the next last. With each part, how deep in the given path it stands; None for a link's.
        self._todo: list[tuple[str, int | None]] = []
        self._todo.extend(reversed([(part, depth) for depth, part in enumerate(_parts(path), 1)]))

    def run(self) -> None:
        kept = self._kept
        kept.directories.append(os.open("/", _ANCHOR))
        for _ in range(_MOST_STEPS):
            if not self._todo:
                raise RefusedError(
                    Trouble.NOT_A_FILE, f"{shown(self._path)} leads to a directory, not a file", "remove the link to it"
                )
            kept.name, depth = self._todo.pop()
            if depth == self._homes + 1:
                kept.home = kept.real
            if kept.name == "..":
                kept.directories.append(os.open("..", _ANCHOR, dir_fd=kept.directory))
                kept.real = kept.real.rpartition("/")[0] or "/"
                continue
            status = self._look()
            if status is None:
                if not self._todo or not self._go_on_without(kept.name, depth):
                    return
            elif stat.S_ISLNK(status.st_mode):
                self._follow(status)
            elif not self._todo:
                return
            elif stat.S_ISDIR(status.st_mode):
                self._enter()
            else:
                raise NotADirectoryError(errno.ENOTDIR, "")
        raise OSError(errno.ELOOP, "")

    def _look(self) -> os.stat_result | None:
        kept, rules = self._kept, self._rules
        try:
            status = os.stat(kept.name, dir_fd=kept.directory, follow_symlinks=False)
        except FileNotFoundError:
            status = None
        except PermissionError as e:
            raise denied(e, kept, kept.real, rules) from None
        if rules.home is None:
            _trust(kept, status, rules, is_file=not self._todo)
        return status

    def _enter(self) -> None:
        kept = self._kept
        try:
            kept.directories.append(os.open(kept.name, _ANCHOR, dir_fd=kept.directory))
        except OSError as e:
            raise _moved_or(e) from None
        kept.real = kept.path

    def _follow(self, status: os.stat_result) -> None:
        kept = self._kept
        where = os.fstat(kept.directory)
        if where.st_mode & _ANYBODYS == _ANYBODYS and status.st_uid not in (self._rules.uid, where.st_uid):
            # As the kernel itself would with fs.protected_symlinks: in /tmp anybody can lay such a trap.
            raise denied(PermissionError(errno.EACCES, ""), kept, kept.path, self._rules)
        try:
            target = os.readlink(kept.name, dir_fd=kept.directory)
        except OSError as e:
            raise _moved_or(e) from None
        kept.links.append((kept.directory, kept.name))
        if kept.home is not None:
            kept.own_links += 1
        if len(kept.links) > _MOST_LINKS:
            raise OSError(errno.ELOOP, "")
        if target.startswith("/"):
            kept.directories.append(os.open("/", _ANCHOR))
            kept.real = "/"
        self._todo.extend(reversed([(part, None) for part in _parts(target)]))

    def _go_on_without(self, name: str, depth: int | None) -> bool:
        """Make a missing directory, or leave the walk here."""
        kept, rules = self._kept, self._rules
        kept.missing = name
        if depth is None:
            raise RefusedError(
                Trouble.DANGLING_LINK,
                f"{shown(self._path)}: a link leads to {shown(kept.path)}, which is not there",
                f"mount or make it, or remove the link: namei -l {shown(self._path)}",
            )
        if rules.home is not None and depth <= self._homes:
            raise RefusedError(
                Trouble.NO_HOME,
                f"the home {shown(rules.home)} is not there",
                "mount or make it; it is looked for again and again",
            )
        if not self._create:
            return False
        _make(kept.directory, name, rules)
        kept.missing = None
        self._todo.append((name, depth))
        return True


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _moved_or(error: OSError) -> Exception:
    """Return what *error* on something just looked at means: that it was swapped, or the error itself."""
    return _Moved() if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EINVAL) else error


def denied(error: OSError, kept: Trail, path: str, rules: Rules) -> RefusedError:
    """Return the refusal for what the user may not do at *path*."""
    plain = refused(error, path).refusal
    return RefusedError(Trouble(plain.code), plain.message, f"it needs {advice(kept, path, rules)}")


def advice(kept: Trail, path: str, rules: Rules) -> str:
    """Return the command that gives *path* to the user, or where to look.

    What a link leads to, or what stands above a home, is perhaps rightly somebody else's: whoever plants a link to
    /etc/shadow must not have us advise to give it away.
    """
    inside = rules.home is None or (kept.home is not None and path.startswith(kept.home.rstrip("/") + "/"))
    if kept.own_links or not inside:
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
