"""A machine booted with systemd as PID 1: a container of the session's dockerd, without any network of the host's.

Its network is what a test makes of it: `Machine.inside` opens sockets in it that the test itself serves. So AWS and
IMDS are objects in the test's hands, and a network that comes late is one that the test makes late.
"""

import ctypes
import io
import itertools
import os
import shlex
import tarfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.support import image
from tests.support.dockerd import Dockerd

_CLONE_NEWNET = 0x40000000

# systemd wants its cgroups writable, and mounts that its services see; docker gives it neither.
_INIT = """
[ ! -e /sys/fs/cgroup/cgroup.procs ] || mount -o remount,bind,rw /sys/fs/cgroup
for each in /sys/fs/cgroup/*; do [ ! -d "$each" ] || mount -o remount,bind,rw "$each" 2>/dev/null; done
mount --make-rshared /
exec /sbin/init
"""

# What systemd needs beside docker's own set, to make a service's namespaces and to look into processes.
_CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE")

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. It is made switched off: files can be put in before its first boot."""

    dockerd: Dockerd
    name: str

    def boot(self):
        """Switch it on; return once systemd can be asked, which is long before all units are up."""
        self.dockerd.docker("start", self.name)
        self.wait_for("test -S /run/systemd/private")

    def shut_down(self):
        """Switch it off in an orderly way; its disk stays."""
        self.dockerd.docker("stop", "--time", 30, self.name)

    def reboot(self):
        """Shut it down and boot it again: the disk is the same, /run and /tmp are empty, the network is a new one."""
        self.shut_down()
        self.boot()

    def run(self, command, *, check=True, user="root", stdin="", environment: Mapping[str, str] | None = None):
        """Run a shell command line (or a list of arguments) in it; return the CompletedProcess, output as text."""
        arguments = ["sh", "-c", command] if isinstance(command, str) else command
        variables = [option for item in (environment or {}).items() for option in ("--env", "=".join(item))]
        done = self.dockerd.docker(
            "exec", "--interactive", "--user", user, *variables, self.name, *arguments, check=False, input=stdin
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def output(self, command, **options):
        """Return what a command that must succeed says on stdout, less white space around it."""
        return self.run(command, **options).stdout.strip()

    def wait_for(self, condition, *, deadline=20.0):
        """Wait until a shell command line succeeds, or a callable returns something true; return that or its output.

        *deadline* is in seconds; past it the test fails, with the end of the journal.
        """
        until = time.monotonic() + deadline
        while True:
            if callable(condition):
                if found := condition():
                    return found
            elif not (done := self.run(condition, check=False)).returncode:
                return done.stdout
            if time.monotonic() > until:
                said = self.run("journalctl --no-pager --lines=60", check=False).stdout
                raise AssertionError(f"not within {deadline} s: {condition}\n{said}")
            time.sleep(0.05)

    def write(self, path, content, *, mode=0o644, uid=0, gid=0):
        """Put a file into it, switched on or off. Not below /run or /tmp, which are there only while it is on."""
        data = content if isinstance(content, bytes) else content.encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.uid, entry.gid, entry.size = mode, uid, gid, len(data)
            tar.addfile(entry, io.BytesIO(data))
        self.dockerd.docker("cp", "-", f"{self.name}:/", input=packed.getvalue(), text=False)

    def read(self, path):
        """Return a file's text."""
        return self.run(["cat", path]).stdout

    def journal(self, *arguments):
        """Return what journalctl says."""
        return self.run(["journalctl", "--no-pager", *arguments], check=False).stdout

    def settings_of(self, unit, *names):
        """Return properties of a unit, as systemd has them, by name."""
        said = self.output(["systemctl", "show", unit, *(f"--property={name}" for name in names)])
        return dict(line.split("=", 1) for line in said.splitlines())

    def inside(self, act: Callable):
        """Call *act* in its network: sockets that it opens, threads that it starts, are there. Return its result."""

        def enter_and_act():
            with self._network().open() as network:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(network.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return act()

        # Only the pool's one thread goes there, and ends there.
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(enter_and_act).result()

    def give_address(self, address, device="lo"):
        """Give it an IP address, from now until it is switched off."""
        self.run(["ip", "address", "add", address, "dev", device])

    def _network(self):
        pid = self.dockerd.docker("inspect", "--format", "{{.State.Pid}}", self.name).stdout.strip()
        return self.dockerd.proc / pid / "ns/net"

    def destroy(self):
        """Pull the plug, and throw it away."""
        self.dockerd.docker("rm", "--force", "--volumes", self.name)


@dataclass(slots=True)
class Machines:
    """Makes machines, and throws them away at the end of a test."""

    dockerd: Dockerd
    _made: list[Machine] = field(default_factory=list)

    def make(self, *, source=None, hosts: Mapping[str, str] | None = None, mounts: Mapping[str, str] | None = None):
        """Return a new machine, switched off, of the image *source*; without one this checkout is installed in it.

        *hosts* maps names to addresses, *mounts* directories of ours to where they are in it, read-only.
        """
        name = f"machine-{os.getpid()}-{next(_numbers)}"
        options = [option for capability in _CAPABILITIES for option in ("--cap-add", capability)]
        options += [f"--add-host={host}:{address}" for host, address in (hosts or {}).items()]
        options += [f"--volume={ours}:{theirs}:ro" for ours, theirs in (mounts or {}).items()]
        options += shlex.split(
            "--network none --cgroupns private --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--tmpfs /run --tmpfs /tmp --stop-signal SIGRTMIN+3"
        )
        source = source or image.installed(self.dockerd)
        self.dockerd.docker("create", "--name", name, *options, source, "/bin/sh", "-c", _INIT)
        self._made.append(Machine(self.dockerd, name))
        return self._made[-1]


@pytest.fixture
def machines(dockerd):
    """Yield what makes machines for this test."""
    made = Machines(dockerd)
    yield made
    for machine in made._made:
        machine.destroy()


@pytest.fixture(scope="module")
def machines_of_module(dockerd):
    """Yield what makes machines that the tests of a module share."""
    made = Machines(dockerd)
    yield made
    for machine in made._made:
        machine.destroy()
