"""Other files of the user's in which a client looks first: there, a login for our host makes it ignore ours."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecrlogind.core import dockerconfig
from ecrlogind.core.dockerconfig import Trouble, Unfit, Wish
from ecrlogind.core.wire import Refusal
from ecrlogind.courier.clock import Deadline
from ecrlogind.courier.file import File, decode, read_all
from ecrlogind.courier.refused import RefusedError, shown
from ecrlogind.courier.swap import Swap
from ecrlogind.courier.walk import Rules, reach, trail

# Without an end of its own a login is taken to live for as long as ECR's do.
_LIFETIME = 12 * 3600


@dataclass(frozen=True, slots=True)
class Shadows:
    """The files of one user. Where containers/image looks, and in which order: facts, section 2.2."""

    home: str
    uid: int
    wish: Wish
    deadline: Deadline
    notes: list[Refusal]

    def over(self, host: str) -> Refusal | None:
        """Return what stands over our login for *host*; with the fix in the wish, what is stale goes first."""
        for path in self._auth_files():
            if self.wish.fix_shadows:
                self._remove_stale(path, host)
            text = _read(path)
            if text is not None and (shadow := self._in_auth_file(path, text, host)):
                return shadow
        path = f"{self.home}/.dockercfg"
        text = _read(path)
        if text is not None and dockerconfig.has_legacy_login(text, host, self.wish.logins.get(host)):
            return Refusal(
                Trouble.SHADOWED_BY_DOCKERCFG,
                f"{shown(path)} has another login for {host}, which old clients take",
                f"no client of today needs that file: mv {shown(path)} {shown(path + '.away')}",
            )
        return None

    def _auth_files(self) -> tuple[str, ...]:
        # XDG_RUNTIME_DIR is not known here: with it set podman takes the first, without it the second.
        return (
            f"/run/user/{self.uid}/containers/auth.json",
            f"/run/containers/{self.uid}/auth.json",
            f"{self.home}/.config/containers/auth.json",
        )

    def _in_auth_file(self, path: str, text: str, host: str) -> Refusal | None:
        try:
            others = dockerconfig.other_logins(text, host, self.wish.logins.get(host))
            helper = dockerconfig.other_helper(text, host)
        except Unfit:
            return None  # podman stumbles over that on its own, whatever we do
        if not others and helper is None:
            return None
        what = "another login" if others else "a credential helper"
        return Refusal(
            Trouble.SHADOWED_BY_AUTH_JSON,
            f"{shown(path)} has {what} for {host}, which podman takes first",
            f"podman logout --authfile {shown(path)} {host}"
            if others
            else f"remove credHelpers for it from {shown(path)}",
        )

    def _remove_stale(self, path: str, host: str) -> None:
        try:
            aged = time.time() - Path(path).stat().st_mtime > _LIFETIME
        except OSError:
            return

        def change(text: str) -> str:
            others = dockerconfig.other_logins(text, host, self.wish.logins.get(host))
            return dockerconfig.without(
                text, [key for key, entry in others.items() if self._is_stale(host, entry, aged=aged)]
            )

        try:
            _rewrite(path, self.uid, change, self.deadline, self.notes)
        except RefusedError as e:
            self.notes.append(e.refusal)
        except (OSError, Unfit):
            return  # it is still there, so it is reported as the shadow that it is

    def _is_stale(self, host: str, entry: object, *, aged: bool) -> bool:
        if not isinstance(entry, dict):
            return False
        known = dockerconfig.digest_of(entry)
        if self.wish.may_replace(host, known) or known in self.wish.delivered.get(host, ()):
            return True
        auth = entry.get("auth")
        end = dockerconfig.ends_at(auth) if isinstance(auth, str) else None
        return aged if end is None else end <= time.time()


def _rewrite(path: str, uid: int, change: Callable[[str], str], deadline: Deadline, notes: list[Refusal]) -> None:
    with trail() as way:
        reach(way, path, Rules(uid, home=path.rpartition("/")[0]), create=False)
        file = File(way.directory, way.name, way.path, uid, f"see whose it is: ls -l {shown(path)}")
        try:
            Swap(file, deadline, notes).run(change)
        finally:
            file.close()


def _read(path: str) -> str | None:
    """Return the text of one of the user's files, None if it is not there or no text."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return decode(read_all(descriptor, path)) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except (OSError, RefusedError, Unfit):
        return None
    finally:
        os.close(descriptor)
