"""A Python whose processes die by SIGKILL at a chosen moment: the N-th time that one reaches for the outside.

It is a virtual environment that loads this very file at start, in the keeper and in its children alike. What counts is
what the interpreter audits (files, names, sockets, programs, symbols of libc), and os.read, os.write and os.fsync.
"""

import json
import os
import signal
import sys
from pathlib import Path

# The libraries that an issuer loads count as well: that is where it spends its time.
_EVENTS = ("os.", "socket.", "subprocess.Popen", "ctypes.dlsym", "fcntl.", "import boto")
_CALLS = ("read", "write", "fsync")
_ORDER, _DEAD = "order.json", "dead"


class DeadlyPython:
    """The environment, in *directory*; *program* runs ecrlogind in it."""

    def __init__(self, directory, package):
        self._directory = directory
        real = Path(sys.executable).resolve()
        libraries = directory / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        libraries.mkdir(parents=True)
        (directory / "bin").mkdir()
        (directory / "bin" / "python").symlink_to(real)
        (directory / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
        (directory / "deadly.py").write_text(Path(__file__).read_text())
        paths = [
            str(directory),
            str(Path(package).parents[1]),
            *(path for path in sys.path if path.endswith("-packages")),
        ]
        (libraries / "deadly.pth").write_text("\n".join([*paths, "import deadly; deadly.obey()"]) + "\n")
        self.program = [str(directory / "bin" / "python"), "-m", "ecrlogind"]

    def order(self, module, number):
        """Let the next one that runs *module* die at its *number*-th moment."""
        (self._directory / _DEAD).unlink(missing_ok=True)
        (self._directory / _ORDER).write_text(json.dumps([module, number]))

    def pardon(self):
        """Let nobody die."""
        (self._directory / _ORDER).unlink(missing_ok=True)

    @property
    def last_act(self):
        """What the dead was about to do, None while nobody is dead."""
        try:
            return (self._directory / _DEAD).read_text() or None
        except FileNotFoundError:
            return None


def obey():
    """Look for an order that is meant for this process."""
    directory = Path(__file__).parent
    try:
        module, number = json.loads((directory / _ORDER).read_text())
    except FileNotFoundError:
        return
    if module not in sys.orig_argv:
        return
    left = [number]

    def count(act, *about):
        left[0] -= 1
        if left[0] == 0:
            try:
                descriptor = os.open(directory / _DEAD, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except OSError:  # somebody died already
                return
            real["write"](descriptor, f"{act}{about}".encode(errors="replace"))
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, about):
        named = f"import {about[0]}" if event == "import" else event
        # Directories are listed and files opened by their full names to import; but for those of the state.
        if (named.startswith(_EVENTS) and event != "os.listdir") or (event == "open" and _is_ours(about[0])):
            count(event, *about[:2])

    def counted(name, call):
        def run(*arguments):
            count(name, arguments[0])
            return call(*arguments)

        return run

    real = {name: getattr(os, name) for name in _CALLS}
    for name in _CALLS:
        setattr(os, name, counted(name, real[name]))
    sys.addaudithook(audit)


def _is_ours(path):
    return isinstance(path, str | bytes | Path) and (not os.path.isabs(path) or b"/state/" in os.fsencode(path))
