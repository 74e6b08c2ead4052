"""The tree's own rules, as tests: layering, style, types. What `make lint` says, CI holds."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def run(program, *arguments, cwd=ROOT):
    return subprocess.run(
        [BIN / program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=110, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="ruff"),
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["mypy"], id="mypy"),
        pytest.param(["lint-imports"], id="imports"),
    ],
)
def test_the_tree_keeps_its_rules(command):
    found = run(*command)

    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("module", "violation"),
    [
        ("core/plan.py", "import ecrlogind.keeper.clock"),
        ("core/status.py", "import socket"),
        ("courier/walk.py", "import ecrlogind.keeper.files"),
        ("issuer/ecr.py", "import ecrlogind.courier.walk"),
        ("keeper/store.py", "import ecrlogind.keeper.journal"),
        ("keeper/reconcile.py", "import ecrlogind.keeper.store"),
        ("keeper/issuing.py", "import boto3"),
        ("doctor/gather.py", "import ecrlogind.keeper.accounts"),
        ("doctor/checks/daemon.py", "import os"),
        ("doctor/gather.py", "import ecrlogind.issuer.ecr"),
    ],
)
def test_a_planted_import_across_rooms_is_found(tmp_path, module, violation):
    shutil.copytree(ROOT / "ecrlogind", tmp_path / "ecrlogind", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "ecrlogind" / module
    planted.write_text(planted.read_text() + f"\n{violation}\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from importlinter.cli import lint_imports; "

    found = subprocess.run(
        [sys.executable, "-c", script + "sys.exit(lint_imports(no_cache=True))"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert found.returncode == 1, found.stdout + found.stderr
    assert "BROKEN" in found.stdout


def test_the_courier_starts_with_the_standard_library_alone():
    code = "import sys, ecrlogind.courier.__main__; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    foreign = set(found.stdout.split()) - sys.stdlib_module_names - {"ecrlogind", "__main__"}
    assert {name for name in foreign if not name.startswith(("_", "__editable__"))} == set()


def test_no_module_has_outgrown_its_room():
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "ecrlogind").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }

    assert long == {}


def test_no_commit_holds_a_download_address():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    pins = (ROOT / "constraints.txt").read_text()

    assert "://" not in pins
    assert all("lock" not in Path(name).suffix for name in tracked.split("\0"))
