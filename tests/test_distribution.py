"""What is handed out, wheel and sdist: that they hold everything, install into a clean place, work, and go again."""

import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ecrlogind import __version__
from ecrlogind.cli import _parser
from tests.support import baking
from tests.support.keeper import Keeper
from tests.support.need import need

pytestmark = [pytest.mark.xdist_group("distribution"), pytest.mark.timeout(400)]  # one place serves them

REPO = Path(__file__).parents[1]
HOST = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
SCRIPTS = sorted(path.name for path in (REPO / "bin").iterdir())
[COMMANDS] = [action.choices for action in _parser()._actions if action.choices]


def build(kind, source, directory):
    """Return what hatchling makes of the tree *source*."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", directory]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [made] = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", REPO, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", REPO, tmp_path_factory.mktemp("sdist"))


def test_the_wheel_has_whatever_a_host_needs(wheel):
    data, scripts = (f"ecrlogind-{__version__}.data/{kind}/" for kind in ("data/share", "scripts"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        places = {
            **{f"ecrlogind/systemd/{path.name}": path for path in (REPO / "systemd").iterdir()},
            **{f"man/man{path.suffix[1]}/{path.name}": path for path in (REPO / "docs/man").iterdir()},
            **{f"ecrlogind/{path.name}": path for path in (REPO / "docs").glob("*.schema.json")},
            "bash-completion/completions/ecrlogind": REPO / "completions/ecrlogind.bash",
            "zsh/site-functions/_ecrlogind": REPO / "completions/_ecrlogind",
            "fish/vendor_completions.d/ecrlogind.fish": REPO / "completions/ecrlogind.fish",
        }
        for place, path in places.items():
            assert archive.read(f"{data}{place}") == path.read_bytes()
        assert {name for name in names if name.startswith(scripts)} == {f"{scripts}{name}" for name in SCRIPTS}
        assert {name.removeprefix(data) for name in names if name.startswith(data)} == set(places)
        ours = {str(path.relative_to(REPO)) for path in (REPO / "ecrlogind").rglob("*.py")}
        assert {name for name in names if name.startswith("ecrlogind/")} == ours | {"ecrlogind/py.typed"}


def test_the_sdist_has_all_that_is_kept_and_makes_the_very_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if not tracked.returncode:  # the tree of an sdist has no history to compare with
        kept = {name for name in tracked.stdout.splitlines() if not name.startswith(".")}
        assert [name for name in kept if not (tree / name).is_file()] == []

    assert build("wheel", tree, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Return a venv with nothing in it but what we need; each test leaves it so."""
    work = tmp_path_factory.mktemp("clean")
    venv, requirements = work / "venv", work / "requirements.txt"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    lines = (baking.wheelhouse() / "requirements.txt").read_text().splitlines()
    requirements.write_text("\n".join(line for line in lines if not line.startswith("ecrlogind==")))
    offline = ["--no-index", "--no-compile", "--find-links", baking.wheelhouse(), "--require-hashes"]
    pip(venv, "install", *offline, "-r", requirements)
    return venv


def pip(venv, *arguments):
    command = [venv / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_into_a_clean_place_where_each_command_runs_and_leaves_only_the_settings(
    clean, kind, request, tmp_path, aws
):
    need(shutil.which("man"), "man")
    before = files(clean)
    pip(clean, "install", "--no-deps", request.getfixturevalue(kind))

    host = Keeper(tmp_path / "host", aws, program=[clean / "bin/ecrlogind"])
    host.directory.mkdir()
    us = {"user": pwd.getpwuid(os.geteuid()).pw_name, "via": "none"}
    host.write_settings([HOST], destinations=[{"path": str(host.destination())}, us])
    host.environment["ECRLOGIND_CONFIG"] = str(host.config)
    host.environment["PATH"] = f"{clean}/bin:{os.environ['PATH']}"
    with host.running():
        statuses = {
            "wait": host.run("wait", "--timeout", "60s").returncode,
            "status": host.run("status").returncode,
            "login": host.run("login").returncode,
            "check": host.run("check").returncode,
            "policy": host.run("policy").returncode,
            "credential-provider-config": host.run("credential-provider-config").returncode,
            "export": host.run("export", tmp_path / "export").returncode,
            "doctor": host.run("doctor", "--json").returncode,
        }
        assert HOST in host.auths()
        statuses["run"] = host.stop()
    statuses["logout"] = host.run("logout").returncode
    # The doctor may well find something on a machine of tests.
    assert statuses.pop("doctor") in (0, 1)
    assert set(statuses) | {"doctor"} == set(COMMANDS)
    assert statuses == dict.fromkeys(statuses, 0)
    assert host.auths() == {}
    helper = subprocess.run(
        [clean / "bin/docker-credential-ecrlogind", "version"], capture_output=True, text=True, check=True
    )
    assert __version__ in helper.stdout
    provider = subprocess.run(
        [clean / "bin/ecrlogind-credential-provider"], input=b"", capture_output=True, check=False
    )
    assert b"CredentialProviderRequest" in provider.stderr
    for page in ("ecrlogind", "ecrlogind.toml", "ecrlogind-status", *SCRIPTS):
        found = subprocess.run(
            ["man", "-M", clean / "share/man", "-w", page], capture_output=True, text=True, check=False
        )
        assert found.stdout.startswith(str(clean)), page

    pip(clean, "uninstall", "--yes", "ecrlogind")
    assert {name for name in files(clean) - before if not (clean / name).is_dir()} == set()
    left = files(host.directory)
    assert "config.toml" in left
    # What belongs to the state goes with the next boot; nothing of it is a credential.
    assert {name for name in left if (host.directory / name).is_file()} <= {
        "config.toml",
        "log",
        "state/status.json",
        "state/lock",
        "one/config.json",
    }
