"""Run one errand: reach the file, bring it to where it shall be, say what was found, and leave a watch behind."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import replace

from ecrlogind.core import dockerconfig
from ecrlogind.core.codec import encode
from ecrlogind.core.dockerconfig import Trouble, Unfit, Wish
from ecrlogind.core.wire import LONGEST_REPORT, Errand, Found, Refusal, Report
from ecrlogind.courier import watch
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.file import File
from ecrlogind.courier.refused import RefusedError, refused, shown
from ecrlogind.courier.shadows import Shadows
from ecrlogind.courier.swap import Swap
from ecrlogind.courier.walk import Rules, Trail, advice, denied, reach, trail

# What a look at the place tells: which directory, what text and mode, or why it cannot be told.
_Glance = tuple[object, ...]

_MOST_TRIES = 100

# Where there is no file, nothing of ours has to go.
_NOTHING_THERE = frozenset({Trouble.NO_HOME, Trouble.DANGLING_LINK})


class Visit:
    """One errand under way."""

    def __init__(self, errand: Errand, deadline: Deadline) -> None:
        self._errand = errand
        self._deadline = deadline
        self._rules = Rules(os.geteuid(), errand.home, errand.mode or 0o600, errand.gid)
        self._wish = Wish(
            logins={host: auth.reveal() for host, auth in errand.logins.items()},
            helpers=errand.helpers,
            remove=errand.remove,
            delivered=errand.delivered,
            expelled=errand.expelled,
            replace=errand.replace,
            fix_shadows=errand.fix_shadows,
        )

    def run(self) -> tuple[Report, int | None]:
        """Return the report, and an inotify descriptor if the errand asks for one and there can be one."""
        report: Report | None = None
        while True:
            attempted, seen = self._attempt()
            report = attempted if report is None else _both(report, attempted)
            if seen is None and not self._errand.watch:
                return report, None
            descriptor = None
            with trail() as way:
                # All that we did may have been in a directory that somebody moved away meanwhile.
                now = self._glance(way)
                if self._errand.watch:
                    try:
                        descriptor = watch.arm(way)
                    except OSError as e:
                        report = replace(report, notes=(*report.notes, self._unwatched(e)))
            if seen in (now, None) and (descriptor is None or self._is_still(now)):
                return report, descriptor
            if not self._deadline.left:
                return report, descriptor
            if descriptor is not None:
                os.close(descriptor)

    def _is_still(self, now: _Glance) -> bool:
        """Whether nothing was changed before the watch was armed, since that made no event."""
        with trail() as way:
            return self._glance(way) == now

    def _unwatched(self, error: OSError) -> Refusal:
        return Refusal(
            Trouble.NO_WATCH,
            f"{shown(self._errand.path)} cannot be watched: {os.strerror(error.errno or 0)}",
            "changes are only noticed at the next look; raise fs.inotify.max_user_watches and max_user_instances",
        )

    def _attempt(self) -> tuple[Report, _Glance | None]:
        """Return what one delivery came to, and what a look must still see then; None if that cannot be told."""
        notes: list[Refusal] = []
        with trail() as way:
            try:
                for _ in range(_MOST_TRIES):
                    # The directory itself may be removed under us: then there is another way to go.
                    with contextlib.suppress(FileNotFoundError):
                        return self._deliver(way, notes)
                return self._deliver(way, notes)
            except RefusedError as e:
                refusal = e.refusal
            except OSError as e:
                refusal = _told(e, way, self._rules).refusal
            except Unfit as e:
                refusal = Refusal(e.code, f"{shown(way.path)}: {e}", e.hint)
        if refusal.code in _NOTHING_THERE and not self._wish.logins and not self._wish.helpers:
            return Report(found=dockerconfig.find("", self._wish)), None
        return Report(refusal=refusal, notes=tuple(notes)), None

    def _deliver(self, way: Trail, notes: list[Refusal]) -> tuple[Report, _Glance | None]:
        reach(way, self._errand.path, self._rules, create=False)
        if way.missing is not None:
            if not self._wish.logins and not self._wish.helpers:
                return Report(found=dockerconfig.find("", self._wish)), None
            reach(way, self._errand.path, self._rules, create=True)
        with contextlib.closing(_file(way, self._rules)) as file:
            done = Swap(file, self._deadline, notes, self._errand.mode, self._errand.gid).run(self._change)
        found = self._shadowed(dockerconfig.find(done.before, self._wish), notes)
        notes.extend(_about_bad_entries(done.text))
        return Report(found, done.changed, notes=tuple(notes)), (_identity(way), done.text)

    def _change(self, text: str) -> str:
        return dockerconfig.merge(text, self._wish)

    def _shadowed(self, found: Mapping[str, Found], notes: list[Refusal]) -> Mapping[str, Found]:
        """Return *found* with what other files of the user's stand over our logins."""
        if self._errand.home is None:
            return found
        shadows = Shadows(self._errand.home, self._rules.uid, self._wish, self._deadline, notes)
        over = shadows.over([host for host, each in found.items() if each.is_ours and each.shadow is None])
        return {host: replace(each, shadow=over[host]) if host in over else each for host, each in found.items()}

    def _glance(self, way: Trail) -> _Glance:
        try:
            reach(way, self._errand.path, self._rules, create=False)
            if way.missing is not None:
                return (_identity(way), way.missing)
            with contextlib.closing(_file(way, self._rules)) as file:
                seen = file.read()
            return (_identity(way), seen.data.decode("utf-8", "surrogateescape") if seen else "")
        except RefusedError as e:
            return (e.refusal.code, e.refusal.message)
        except OSError as e:
            return (e.errno,)


def late(errand: Errand) -> Report:
    """Return what to report when the file system does not answer."""
    return Report(
        refusal=Refusal(
            Trouble.DEADLINE,
            f"{shown(errand.path)}: the file system did not answer in time",
            "see to the disk or the file server that it is on",
        )
    )


def fitted(report: Report, errand: Errand) -> bytes:
    """Return *report* as a line that is no longer than the keeper takes; what explains goes before what is."""
    plain = replace(report, found={host: _unexplained(found) for host, found in report.found.items()}, notes=())
    for each in (report, replace(report, notes=()), plain):
        line = encode(each.brief(errand))
        if len(line) <= LONGEST_REPORT:
            return line
    return encode(
        Report(
            refusal=Refusal(
                Trouble.REPORT_TOO_LONG,
                f"{shown(errand.path)}: {len(report.found)} registries in one file, so many of them with a login of "
                "somebody else's that it cannot be reported",
                "give the destination a list of the `registries` that it needs",
            )
        )
    )


def _unexplained(found: Found) -> Found:
    return replace(found, shadow=replace(found.shadow, message=found.shadow.code, hint="")) if found.shadow else found


def _about_bad_entries(text: str) -> list[Refusal]:
    bad = dockerconfig.bad_entries(text)
    if not bad:
        return []
    named = ", ".join(ascii(key)[:100] for key in bad[:3])
    return [
        Refusal(
            Trouble.BAD_ENTRY,
            f"docker cannot read the entry of {named} under auths: it warns, and drops entries when it writes the file",
            f"remove it: docker logout {named}",
        )
    ]


def _file(way: Trail, rules: Rules) -> File:
    return File(way.directory, way.name, way.path, rules.uid, advice(way, way.path, rules))


def _told(error: OSError, way: Trail, rules: Rules) -> RefusedError:
    """Return the refusal for what a system call said once the walk was over."""
    if error.errno != errno.EACCES:
        return refused(error, way.path)
    directory = os.fstat(way.directory)
    if directory.st_uid != rules.uid:
        return denied(error, way, way.real, rules)
    # Theirs, so it is the mode that stands in the way: the directory's or, with that right, the file's.
    ours = directory.st_mode & stat.S_IRWXU == stat.S_IRWXU
    path, command = (way.path, "chmod u+rw") if ours else (way.real, "chmod u+rwx")
    return RefusedError(Trouble.PERMISSION_DENIED, refused(error, path).refusal.message, f"{command} {shown(path)}")


def _identity(way: Trail) -> tuple[int, int]:
    status = os.fstat(way.directory)
    return status.st_dev, status.st_ino


def _both(first: Report, second: Report) -> Report:
    """Return one report of two attempts: what was found first, and how it stands at last."""
    found: dict[str, Found] = dict(second.found)
    if first.changed and not second.changed:
        found = {
            host: replace(now, was=first.found[host].was) if host in first.found else now for host, now in found.items()
        }
    notes = tuple(dict.fromkeys((*first.notes, *second.notes)))
    return replace(second, found=found, changed=first.changed or second.changed, notes=notes)
