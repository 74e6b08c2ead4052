"""What a test machine is made of: the host's own distribution with systemd, and this checkout installed in it.

The root file system and the wheels are kept between sessions, outside the repo, under a name made from what they were
made of. In a session's dockerd they become images, each made once by whichever worker needs it first.
`python -m tests.support.image` makes the root file system beforehand: its minute would count as some test's.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from pathlib import Path

from tests.support.need import need

REPO = Path(__file__).parents[2]
_CACHES = os.environ.get("XDG_CACHE_HOME") or ("/var/cache" if os.geteuid() == 0 else Path.home() / ".cache")
CACHE = Path(_CACHES) / "ecrlogind-tests"
PACKAGED = ("bin", "completions", "docs/man", "ecrlogind", "systemd")
SCHEMAS = ("docs/config.schema.json", "docs/status.schema.json")
PACKAGES = ("iproute2", "nftables", "procps", "strace", "acl", "libfaketime", "sudo")

# As a package would: the files of a package below /usr, what an administrator decides in /etc.
_INSTALL = """
set -eu
/opt/ecrlogind/bin/python -m pip install --quiet --no-index --no-deps --no-cache-dir /stage/*.whl
units=/usr/lib/systemd/system
install -D -m 0644 -t $units /stage/systemd/*.service /stage/systemd/*.socket
install -D -m 0644 -t /usr/lib/sysusers.d /stage/systemd/ecrlogind.conf
install -D -m 0644 -t /usr/lib/systemd/catalog /stage/systemd/ecrlogind.catalog
install -D -m 0644 -t /usr/share/ecrlogind /stage/systemd/runner.conf /stage/systemd/notify-reload.conf
systemd-sysusers
journalctl --update-catalog
"""


def root_file_system():
    """Return the tar of a root file system with systemd and our dependencies, but nothing of ours, and its key."""
    dependencies = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["dependencies"]
    constraints = REPO / "constraints.txt"
    recipe = Path(__file__).with_name("rootfs.sh")
    key = _key(recipe, constraints, *dependencies, *PACKAGES, Path("/etc/os-release"), platform.machine())

    def make(tar):
        need(shutil.which("debootstrap"), "debootstrap")
        with tempfile.TemporaryDirectory() as wheels:
            _pip_wheel(wheels, "-c", constraints, *dependencies)
            subprocess.run([recipe, tar, wheels, *PACKAGES], check=True, timeout=600)

    return _cached(f"machine-{key}.tar", make), key


def base(dockerd):
    """Return the image of that."""
    tar, key = root_file_system()
    return _image(dockerd, f"base:{key}", lambda name: dockerd.docker("import", tar, name))


def installed(dockerd):
    """Return the image with this checkout installed, as it would land on a host; nothing of it is enabled."""
    underneath = base(dockerd)
    units = REPO / "systemd"
    key = _key(underneath, _INSTALL, *_packaged(), *_files(units))

    def make(name):
        with tempfile.TemporaryDirectory() as stage:
            shutil.copy(wheel(), stage)
            shutil.copytree(units, Path(stage, "systemd"))
            run = ["run", "--network", "none", "--volume", f"{stage}:/stage:ro", "--name", f"make-{key}"]
            dockerd.docker(*run, underneath, "sh", "-c", _INSTALL)
            dockerd.docker("commit", f"make-{key}", name)
            dockerd.docker("rm", f"make-{key}")

    return _image(dockerd, f"installed:{key}", make)


def wheel(version=None):
    """Return the path of this checkout as a wheel; with *version*, as if it had that one."""
    kind = f"wheel{version or ''}"
    [path] = _cached(f"{kind}-{_key(*_packaged())}", lambda place: _make_wheel(place, version)).glob("*.whl")
    return path


def _packaged():
    """Return what a wheel is made of."""
    alone = [REPO / name for name in ("pyproject.toml", *SCHEMAS)]
    return [*alone, *(file for part in PACKAGED for file in _files(REPO / part))]


def copy_checkout(copy):
    """Copy what a wheel is made of: a build must not see, nor leave, what else lies in the checkout."""
    for part in PACKAGED:
        shutil.copytree(REPO / part, Path(copy, part), ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", *SCHEMAS):
        shutil.copy(REPO / name, Path(copy, name))
    for name in ("README.md", "LICENSE"):
        Path(copy, name).write_text(f"see {name} in the repository\n")


def _make_wheel(directory, version):
    with tempfile.TemporaryDirectory() as copy:
        copy_checkout(copy)
        if version:
            Path(copy, "ecrlogind/__init__.py").write_text(f'__version__ = "{version}"\n')
        directory.mkdir()
        _pip_wheel(directory, "--no-deps", copy)


def _pip_wheel(directory, *arguments):
    # With the host's own configuration of pip: where packages come from is the host's business.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", directory, *arguments]
    subprocess.run(command, check=True, timeout=300)


def _cached(name, make):
    """Return the path of the file or directory *name* in the cache, made by *make* where it is not there yet."""
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / f"{name}.lock"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                make(Path(work, name))
                Path(work, name).rename(place)
            _forget_others(place)
    return place


def _forget_others(place):
    """Remove what earlier versions of *place* left in the cache: nobody will ask for it again."""
    for other in CACHE.glob(f"{place.name.partition('-')[0]}-*"):
        if other != place and other.suffix != ".lock" and other.stat().st_mtime < place.stat().st_mtime - 86400:
            shutil.rmtree(other) if other.is_dir() else other.unlink()


def _image(dockerd, name, make):
    name = f"ecrlogind-tests/{name}"
    with _locked(dockerd.home / "image.lock"):
        if dockerd.docker("image", "inspect", name, check=False).returncode:
            make(name)
    return name


def _files(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _key(*parts):
    """Return a name for what is made of *parts*: strings, and files by path and content."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else b""
        digest.update(f"{part}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path):
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    root_file_system()
