"""A Python that runs chosen children of the daemon's behind another program: strace, to have their calls fail.

It is a virtual environment whose interpreter is a script. The daemon starts its children by its own interpreter's name,
so they come through it as well; what stands before a child is read anew each time.
"""

import shlex
import sys
from pathlib import Path

# Without --norc bash would take the socket that a child has for stdin for a remote login.
_SCRIPT = """#!/bin/bash --norc
case " $* " in
    *" -m {module} "*) if [ -s {order} ]; then . {order}; fi ;;
esac
exec -a "$0" {real} -B "$@"
"""


class Interposed:
    """The environment in *directory*; *program* runs ecrlogind in it, its children that run *module* as told."""

    def __init__(self, directory, package, module):
        self._order = directory / "order"
        real = Path(sys.executable).resolve()
        self._python = directory / "bin" / "python"
        self._real = real
        libraries = directory / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        libraries.mkdir(parents=True)
        self._python.parent.mkdir()
        (directory / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
        paths = [str(Path(package).parents[1]), *(path for path in sys.path if path.endswith("-packages"))]
        (libraries / "ours.pth").write_text("\n".join(paths) + "\n")
        self._python.write_text(_SCRIPT.format(module=module, order=self._order, real=real))
        self._python.chmod(0o755)
        self.program = [str(self._python), "-m", "ecrlogind"]

    def behind(self, *words):
        """Run every such child behind the command *words* from now on."""
        inner = f'exec -a "$0" {self._real} -B "$@"'
        self._tell(f'exec {shlex.join(words)} /bin/bash --norc -c {shlex.quote(inner)} "$0" "$@"\n')

    def instead(self, script):
        """Run a shell *script* instead of every such child from now on."""
        self._tell(f"{script}\n")

    def as_it_is(self):
        """Let such children be as they are."""
        self._tell("")

    def _tell(self, order):
        new = self._order.with_suffix(".new")
        new.write_text(order)
        new.replace(self._order)


def meeting(call, what, log="/dev/null"):
    """Return the strace whose child's *call* meets with *what*: ``error=EIO:when=1``, ``signal=KILL``."""
    return ("strace", "-qq", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{what}")
