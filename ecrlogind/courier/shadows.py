"""Other files of the user's in which a client looks first: there, a login for our host makes it ignore ours."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def over(self, hosts: Collection[str]) -> Mapping[str, Refusal]:
        """Return what stands over our logins for *hosts*; with the fix in the wish, what is stale goes first."""
        found: dict[str, Refusal] = {}
        for path in self._auth_files() if hosts else ():
            if self.wish.fix_shadows:
                self._remove_stale(path, hosts)
            found = {**self._in_auth_file(path, hosts), **found}
        return {**self._in_legacy_file(hosts), **found}

    def _auths(self, hosts: Collection[str]) -> Mapping[str, str | None]:
        return {host: self.wish.logins.get(host) for host in hosts}

    def _auth_files(self) -> tuple[str, ...]:
        # XDG_RUNTIME_DIR is not known here: with it set podman takes the first, without it the second.
        return (
            f"/run/user/{self.uid}/containers/auth.json",
            f"/run/containers/{self.uid}/auth.json",
            f"{self.home}/.config/containers/auth.json",
        )

    def _in_auth_file(self, path: str, hosts: Collection[str]) -> Mapping[str, Refusal]:
        text = _read(path)
        if text is None:
            return {}
        try:
            logins = dockerconfig.other_logins(text, self._auths(hosts))
            helpers = dockerconfig.other_helpers(text, hosts)
        except Unfit:
            return {}  # podman stumbles over that on its own, whatever we do
        shadows = {}
        for host in hosts:
            if host in logins:
                what, hint = "another login", f"podman logout --authfile {shown(path)} {host}"
            elif host in helpers:
                what, hint = "a credential helper", f"remove credHelpers for it from {shown(path)}"
            else:
                continue
            message = f"{shown(path)} has {what} for {host}, which podman takes first"
            shadows[host] = Refusal(Trouble.SHADOWED_BY_AUTH_JSON, message, hint)
        return shadows

    def _in_legacy_file(self, hosts: Collection[str]) -> Mapping[str, Refusal]:
        path = f"{self.home}/.dockercfg"
        text = _read(path)
        if text is None:
            return {}
        return {
            host: Refusal(
                Trouble.SHADOWED_BY_DOCKERCFG,
                f"{shown(path)} has another login for {host}, which old clients take",
                f"no client of today needs that file: mv {shown(path)} {shown(path + '.away')}",
            )
            for host in dockerconfig.legacy_logins(text, self._auths(hosts))
        }

    def _remove_stale(self, path: str, hosts: Collection[str]) -> None:
        try:
            aged = time.time() - Path(path).stat().st_mtime > _LIFETIME
        except OSError:
            return

        def change(text: str) -> str:
            others = dockerconfig.other_logins(text, self._auths(hosts))
            stale = [
                key
                for host, entries in others.items()
                for key, entry in entries.items()
                if self._is_stale(host, entry, aged=aged)
            ]
            return dockerconfig.without(text, stale)

        try:
            _rewrite(path, self.uid, change, self.deadline, self.notes)
        except RefusedError as e:
            self.notes.append(e.refusal)
        except (OSError, Unfit):
            return  # it is still there, so it is reported as the shadow that it is

    def _is_stale(self, host: str, entry: Mapping[str, Any], *, aged: bool) -> bool:
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
