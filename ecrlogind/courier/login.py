"""Run one errand by way of `docker login`: ask where docker keeps logins, and let docker write what is not so."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ecrlogind.core import dockerconfig
from ecrlogind.core.dockerconfig import Trouble, Unfit, Wish
from ecrlogind.core.document import STORE, Document
from ecrlogind.core.wire import Errand, Found, Refusal, Report, Was
from ecrlogind.courier import watch
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.file import File, decode
from ecrlogind.courier.programs import Programs
from ecrlogind.courier.refused import RefusedError, refused, shown
from ecrlogind.courier.shadows import Shadows
from ecrlogind.courier.walk import Rules, advice, reach, trail

_BETWEEN_TRIES = 0.05


class Visit:
    """One errand under way."""

    def __init__(self, errand: Errand, deadline: Deadline) -> None:
        self._errand = errand
        self._deadline = deadline
        self._home = errand.home or "/"
        self._rules = Rules(os.geteuid(), self._home)
        self._programs = Programs(self._home, deadline)
        self._notes: list[Refusal] = []
        self._seen: str | None = None
        self._changed = False
        self._wish = Wish(
            logins={host: auth.reveal() for host, auth in errand.logins.items()},
            remove=errand.remove,
            delivered=errand.delivered,
            expelled=errand.expelled,
            replace=errand.replace,
        )

    def run(self) -> tuple[Report, int | None]:
        """Return the report, and an inotify descriptor if the errand asks for one and there can be one."""
        while True:
            report = self._deliver()
            descriptor = self._watched() if self._errand.watch else None
            # What was changed before the watch was armed made no event.
            if descriptor is None or report.refusal or not self._deadline.left or self._is_still():
                return replace(report, notes=tuple(dict.fromkeys(self._notes))), descriptor
            os.close(descriptor)

    def _deliver(self) -> Report:
        found: dict[str, Found] = {}
        refusal: Refusal | None = None
        try:
            with self._alone():
                for host in dict.fromkeys((*self._wish.logins, *self._wish.remove)):
                    try:
                        found[host] = self._bring(host)
                    except RefusedError as e:
                        refusal = refusal or e.refusal
        except RefusedError as e:
            refusal = e.refusal
        return Report(self._shadowed(found), self._changed, refusal)

    def _bring(self, host: str) -> Found:
        """Let *host* be as it shall; return what was found there. Raise RefusedError if that does not come about."""
        before = self._find(host)
        auth = self._wish.logins.get(host)
        if auth is None:
            if before.was is not Was.OUTDATED:
                return before
            self._programs.logout(host)
            self._changed = True
            if self._find(host).was is Was.OUTDATED:
                raise RefusedError(
                    Trouble.STORE_FAILED,
                    f"docker logout left the login for {host} where it was",
                    f"take it out as {self._programs.user}: docker logout {host}",
                )
            return before
        if not before.is_ours or before.was is Was.OURS:
            return before
        self._programs.login(host, auth)
        self._changed = True
        match self._find(host).was:
            case Was.OURS:
                return before
            case Was.ABSENT:
                raise RefusedError(
                    Trouble.DOCKER_FAILED,
                    f"docker login for {host} went well, and yet docker has no such login",
                    f"see where it went, as {self._programs.user}: {shown(self._errand.path)}, credsStore, credHelpers",
                )
            case _:
                raise RefusedError(
                    Trouble.CONTENDED, f"another program logs in to {host} at the same time", "it is tried again"
                )

    def _find(self, host: str) -> Found:
        """Return what docker would use for *host* now, judged as if it stood in a file of its own."""
        try:
            document = Document.of(self._read())
            helper = document.helper(host)
            if helper is None:
                helper = document.root.get(STORE) if document.root else None
            entry: Mapping[str, object] | None = self._programs.ask(helper, host) if helper else document.entry(host)
        except Unfit as e:
            # docker itself would write such a file anew and lose what is in it.
            raise RefusedError(e.code, f"{shown(self._errand.path)}: {e}", e.hint) from None
        text = json.dumps({"auths": {host: entry}}) if entry else ""
        return dockerconfig.find(text, self._wish)[host]

    def _read(self) -> str:
        """Return the text of the config.json; raise RefusedError, Unfit."""
        with trail() as way:
            reach(way, self._errand.path, self._rules, create=False)
            if way.missing is not None:
                self._seen = ""
                return ""
            file = File(way.directory, way.name, way.path, self._rules.uid, advice(way, way.path, self._rules))
            with contextlib.closing(file):
                try:
                    seen = file.read()
                except OSError as e:
                    raise refused(e, way.path) from None
                self._seen = decode(seen.data) if seen else ""
                return self._seen

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other of us run docker for this user meanwhile: it writes the whole file, and locks nothing.

        The keeper sends one at a time; one that an earlier keeper sent may still be at it.
        """
        try:
            directory = os.open(os.path.dirname(self._errand.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
        except OSError:
            yield  # there is nothing yet, or what is there is refused as soon as it is read
            return
        try:
            while True:
                try:
                    fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not self._deadline.left:
                        raise RefusedError(
                            Trouble.CONTENDED, "another docker login of ours is under way", "it is tried again"
                        ) from None
                    time.sleep(_BETWEEN_TRIES)
                except OSError:
                    break  # no locks on that file system
            yield
        finally:
            os.close(directory)

    def _shadowed(self, found: Mapping[str, Found]) -> Mapping[str, Found]:
        """Return *found* with what other files of the user's stand over our logins."""
        shadows = Shadows(self._home, self._rules.uid, self._wish, self._deadline, self._notes)
        over = shadows.over([host for host, each in found.items() if each.is_ours])
        return {host: replace(each, shadow=over[host]) if host in over else each for host, each in found.items()}

    def _watched(self) -> int | None:
        """Arm a watch on the config.json: docker writes it when somebody logs in or out, wherever the login goes."""
        with trail() as way:
            # A refused walk leaves the trail as far as it came: that is where the cause may go away.
            with contextlib.suppress(RefusedError):
                reach(way, self._errand.path, self._rules, create=False)
            try:
                return watch.arm(way)
            except OSError as e:
                what = f"{shown(self._errand.path)} cannot be watched: {os.strerror(e.errno or 0)}"
                hint = "raise fs.inotify.max_user_watches and max_user_instances"
                self._notes.append(Refusal(Trouble.NO_WATCH, what, hint))
                return None

    def _is_still(self) -> bool:
        before = self._seen
        with contextlib.suppress(RefusedError, Unfit):
            return self._read() == before
        return False
