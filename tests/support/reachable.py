"""This checkout and its Python as another user sees them who may enter the directories above them."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.need import need

ROOT = Path(__file__).parent.parent.parent


def command_of(person, *command, holding, **environment):
    """Return the words that run *command* as *person* in this checkout, by the very Python that runs us.

    It happens in a mount namespace of its own, in which the directories above them that are closed to others are
    replaced by empty ones that are not. *holding* is an empty directory to mount things on.
    """
    need(shutil.which("unshare"), "unshare")
    need(subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0, "the right to unshare mounts")
    script = []
    for number, (closed, places) in enumerate(_closed_above(ROOT, Path(sys.prefix), Path(sys.base_prefix)).items()):
        need(closed not in places, f"others to be let into {closed}")
        held = holding / str(number)
        held.mkdir()
        script += [f"mount --rbind {_q(closed)} {_q(held)}", f"mount -t tmpfs -o mode=0755 tmpfs {_q(closed)}"]
        for place in sorted(places):
            script += [
                f"mkdir -p {_q(place)}",
                f"mount --rbind {_q(held / place.relative_to(closed))} {_q(place)}",
            ]
    identity = f"setpriv --reuid={person.uid} --regid={person.uid} --init-groups"
    variables = {"PATH": os.environ["PATH"], "HOME": str(person.home), **environment}
    given = " ".join(f"{name}={_q(value)}" for name, value in variables.items())
    script += [f"cd {_q(ROOT)}", f"exec {identity} env -i {given} {shlex.join(map(str, command))}"]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(script)]


def _closed_above(*places):
    """Return, by the uppermost directory that others may not enter, which of *places* lie below it."""
    found = {}
    for place in places:
        for above in reversed([place, *place.parents]):
            if not above.stat().st_mode & 0o001:
                found.setdefault(above, set()).add(place)
                break
    return found


def _q(value):
    return shlex.quote(str(value))
