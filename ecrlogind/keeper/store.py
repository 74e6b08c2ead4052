"""What the keeper holds across its own restarts, so that a restart asks AWS for nothing that is still good.

One file per thing, each sealed with a checksum and bound to this boot: what is torn, garbled or from another boot (an
image that was cloned) is thrown away, never guessed at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ecrlogind.core.codec import WireError, decode, encode
from ecrlogind.core.credential import Credential
from ecrlogind.core.delivery import Delivery, File, Sighting
from ecrlogind.core.wire import Call, Instance
from ecrlogind.keeper.files import sweep, write_whole

_Kept = TypeVar("_Kept", "_Credential", "_Delivery", "_Instance")
_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Credential:
    boot: str
    call: Call
    credential: Credential


@dataclass(frozen=True, slots=True)
class _Delivery:
    boot: str
    file: File
    delivered: Mapping[str, tuple[str, ...]]
    awaited: tuple[str, ...]
    foreign: Mapping[str, Sighting]


@dataclass(frozen=True, slots=True)
class _Instance:
    boot: str
    instance: Instance


@dataclass(slots=True)
class Held:
    """What an earlier keeper left. *discarded* names the files that were thrown away, being torn or garbled."""

    credentials: dict[Call, Credential] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    instance: Instance | None = None
    discarded: list[str] = field(default_factory=list)


class Store:
    """The directory `credentials` of a state directory; 0700, its keeper's.

    *troubled* is told what keeps something from being kept: a full disk costs a restart's memory, not the logins.
    """

    def __init__(self, directory: Path, boot: str, troubled: Callable[[OSError], None]) -> None:
        self._directory = directory
        self._boot = boot
        self._troubled = troubled

    def load(self) -> Held:
        """Return what is kept of this boot, and throw everything else away."""
        held = Held()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._directory.chmod(0o700)
        sweep(self._directory)
        for path in sorted(self._directory.iterdir()):
            try:
                of_this_boot = self._take_up(path, held)
            except (OSError, ValueError):
                held.discarded.append(path.name)
                of_this_boot = False
            if not of_this_boot:
                with suppress(OSError):
                    path.unlink()
        return held

    def _take_up(self, path: Path, held: Held) -> bool:
        match path.suffix:
            case ".credential":
                one = _unsealed(_Credential, path)
                held.credentials.update({one.call: one.credential} if one.boot == self._boot else {})
                return one.boot == self._boot
            case ".delivery":
                other = _unsealed(_Delivery, path)
                if other.boot == self._boot:
                    held.deliveries.append(Delivery(other.file, other.delivered, other.awaited, other.foreign))
                return other.boot == self._boot
            case ".instance":
                where = _unsealed(_Instance, path)
                held.instance = where.instance if where.boot == self._boot else held.instance
                return where.boot == self._boot
            case _:
                return False

    def keep_instance(self, instance: Instance) -> None:
        """Keep which instance this is."""
        self._seal(self._directory / "this.instance", _Instance(self._boot, instance))

    def keep_credential(self, call: Call, credential: Credential) -> None:
        """Keep the credential held for *call*."""
        self._seal(self._of_call(call), _Credential(self._boot, call, credential))

    def forget_credential(self, call: Call) -> None:
        """Forget what is held for *call*."""
        self._of_call(call).unlink(missing_ok=True)

    def keep_delivery(self, delivery: Delivery) -> None:
        """Keep what was delivered to a file, and what foreign logins stand there."""
        kept = _Delivery(self._boot, delivery.file, delivery.delivered, delivery.awaited, delivery.foreign)
        self._seal(self._of_path(delivery.file.path), kept)

    def forget_delivery(self, path: str) -> None:
        """Forget the file at *path*."""
        self._of_path(path).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        for path in self._directory.iterdir():
            path.unlink(missing_ok=True)

    def _of_call(self, call: Call) -> Path:
        return self._directory / f"{call.key}.credential"

    def _of_path(self, path: str) -> Path:
        return self._directory / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.delivery"

    def _seal(self, path: Path, kept: object) -> None:
        payload = encode(kept)
        try:
            write_whole(path, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload, 0o600)
        except OSError as error:
            self._troubled(error)


def _unsealed(kind: type[_Kept], path: Path) -> _Kept:
    """Read *path*; raise ValueError if it is not whole."""
    with path.open("rb") as file:
        seal, _, payload = file.read(_LARGEST).partition(b"\n")
    if hashlib.sha256(payload).hexdigest().encode() != seal:
        raise WireError("the seal does not fit")
    return decode(kind, payload)
