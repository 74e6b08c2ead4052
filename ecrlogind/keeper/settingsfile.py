"""The settings' files: which they are, whether they can be trusted, and what they say.

Whoever can write one of them decides who gets root's logins, so each must belong to root, or to whom we run as, and be
writable by nobody else; so must the directory it stands in; and nobody else may be able to swap a directory on the way.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

from ecrlogind.core.grammar import Document, parse
from ecrlogind.core.mistake import Mistake, one_line, quote
from ecrlogind.core.render import digest
from ecrlogind.core.settings import Problem, Settings
from ecrlogind.core.tomltraps import explain

__all__ = ["DEFAULT", "DROP_INS", "Fingerprint", "digest", "fingerprint", "load", "read", "watched"]

DEFAULT = Path("/etc/ecrlogind/config.toml")
DROP_INS = "config.d"

LARGEST = 1024 * 1024
MOST_LINKS = 40

Fingerprint = tuple[tuple[str, tuple[int, ...] | None], ...]


def load(path: Path | None, runs_as: str, *, default: Path = DEFAULT) -> Settings:
    """Return the settings of *path* and its drop-ins; raise SettingsError with all that is wrong with any of them.

    Without *path* it is *default*, which need not be there. *runs_as* is the user we run as.
    """
    documents, problems = read(path, default=default)
    return parse(documents, runs_as=runs_as, unread=problems)


def read(path: Path | None, *, default: Path = DEFAULT) -> tuple[list[Document], list[Problem]]:
    """Read the files: what those say that could be read, and what is wrong with the others."""
    main = _absolute(path or default)
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in _files(main, problems):
        try:
            documents.append(Document(str(file), _parse(_read(file))))
        except FileNotFoundError:
            if path is not None and file == main:
                problems.append(_problem(file, Mistake("does not exist", "create it, or name the right one")))
        except Mistake as mistake:
            problems.append(_problem(file, mistake))
        except OSError as error:
            problems.append(_problem(file, _unreadable(error)))
    return documents, problems


def watched(path: Path | None, *, default: Path = DEFAULT) -> tuple[Path, ...]:
    """Return the directories in which a change may be one of the settings; they need not exist."""
    main = _absolute(path or default)
    return main.parent, main.parent / DROP_INS


def fingerprint(path: Path | None, *, default: Path = DEFAULT) -> Fingerprint:
    """Return what is another as soon as a file is changed, replaced, or no longer there; no file is read."""
    main = _absolute(path or default)
    # The directories too, up to the root: a `chmod` there can be all that was missing.
    files = (*main.parents, main.parent / DROP_INS, *_files(main, []))
    return tuple((str(file), _print(file, is_ours=file not in main.parents[1:])) for file in files)


def _print(file: Path, *, is_ours: bool) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    trust = (found.st_dev, found.st_ino, found.st_mode, found.st_uid)
    return (*trust, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if is_ours else trust


def _absolute(path: Path) -> Path:
    # Not resolved: a link is followed later, with a look at every directory on its way.
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow the links


def _files(main: Path, problems: list[Problem]) -> list[Path]:
    """Return the main file, there or not, and its drop-ins in name order."""
    directory = main.parent / DROP_INS
    try:
        names = sorted(each.name for each in directory.iterdir() if each.match("[!.]*.toml"))
        if names:
            _check_directory(directory)
    except FileNotFoundError:
        names = []
    except Mistake as mistake:
        problems.append(_problem(directory, mistake))
        names = []
    except OSError as error:
        # Where not even the directory above can be entered, the main file says so.
        if os.access(main.parent, os.X_OK, effective_ids=True):
            problems.append(_problem(directory, _unreadable(error)))
        names = []
    return [main, *(directory / name for name in names)]


def _read(file: Path) -> bytes:
    """Return a file's bytes once it is known that only the right people wrote it; raise Mistake or OSError."""
    _check_directory(file.parent)
    try:
        descriptor = os.open(_resolve(file), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        if file.is_symlink():
            raise Mistake(f"is a link to {quote(str(file.readlink()))}, which leads nowhere", "mend the link") from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise Mistake("is not a regular file", "put a file there")
    with os.fdopen(descriptor, "rb") as stream:
        _check(found, "", str(file))
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Mistake(f"is larger than {LARGEST // 1024} KiB", "these are no settings: name the right file")
    return content


def _check_directory(directory: Path) -> None:
    """Raise Mistake unless only we and root can put files into *directory*."""
    resolved = _resolve(directory)
    _check(resolved.stat(), f"lies in {quote(str(directory))}, which ", str(directory))


def _resolve(path: Path) -> Path:
    """Follow every link on the way to *path*; raise Mistake where somebody else could turn the way.

    A sticky directory may be anybody's to write in: what stands in it and is ours or root's, nobody else can move.
    """
    here = Path("/")
    ahead = list(reversed(path.parts[1:]))
    links = 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            here = here.parent
            continue
        _check(here.stat(), f"is reached through {quote(str(here))}, which ", str(here), sticky_will_do=True)
        found = (here / name).lstat()
        if stat.S_ISLNK(found.st_mode):
            _check_owner(found, f"is reached through the link {quote(str(here / name))}, which ", str(here / name))
            links += 1
            if links > MOST_LINKS:
                raise Mistake("is reached through too many links", "name the file itself")
            target = (here / name).readlink()
            if target.is_absolute():
                here = Path("/")
            ahead.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        else:
            here = here / name
    return here


def _check(found: os.stat_result, whose: str, path: str, *, sticky_will_do: bool = False) -> None:
    is_sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky_will_do and is_sticky):
        raise Mistake(f"{whose}can be written by others", f"run: chmod go-w {path}")
    _check_owner(found, whose, path)


def _check_owner(found: os.stat_result, whose: str, path: str) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise Mistake(f"{whose}belongs to uid {found.st_uid}", f"run: chown -h root {path}")


def _parse(content: bytes) -> dict[str, object]:
    if content.startswith(b"\xef\xbb\xbf"):
        raise Mistake("begins with a byte order mark", "save it as UTF-8 without BOM")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Mistake("is UTF-16", "save it as UTF-8")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Mistake(f"line {line}: is not UTF-8", "save it as UTF-8") from None
    if "\0" in text:
        raise Mistake(f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}: contains a NUL", "take it out")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Mistake("is nested too deeply", "no setting needs more than three levels") from None
    except ValueError as error:
        # Not only TOMLDecodeError: an integer of thousands of digits is a plain ValueError.
        raise explain(text, str(error)) from None


def _unreadable(error: OSError) -> Mistake:
    hint = "run as root, or let this user read it" if isinstance(error, PermissionError) else "see to that first"
    return Mistake(f"cannot be read: {os.strerror(error.errno or 0)}", hint)


def _problem(file: Path, mistake: Mistake) -> Problem:
    return Problem(one_line(str(file)), "", mistake.message, mistake.hint)
