"""Break the program in one place after the other, and see that each time a test fails: ``python -m tests.mutants``.

Each mutation of `mutations.toml` is made in a copy of the tree, with an environment of its own that finds the copy's
package and no other; then the tests that are to notice it run there, and once more with the program whole. Names of
mutations on the command line run those alone. Exits with 1 if one survives.
"""

import argparse
import ast
import os
import queue
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import venv
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutations.toml")
PASSED, FAILED = 0, 1
# What fails by itself would kill anything.
FLAWED = -1
# A mutant may hang, or a test that waits for what no longer comes.
PATIENCE = 1200


class UnfitError(ValueError):
    """A mutation does not fit the program any more."""


@dataclass(frozen=True)
class Mutation:
    """One way to break the program: in *file*, *old* becomes *new*; one of the tests *killed_by* must fail then."""

    name: str
    file: str
    old: str
    new: str
    killed_by: list[str]

    def applied_to(self, text):
        """Return *text* broken; raise UnfitError if it does not say what it should, or is no program afterwards."""
        if (found := text.count(self.old)) != 1:
            raise UnfitError(f"{self.name}: its text stands {found} times in {self.file}, not once: {self.old!r}")
        broken = text.replace(self.old, self.new)
        if self.file.endswith(".py"):
            ast.parse(broken)
        return broken


def mutations():
    """Return all that stand in the list."""
    return [Mutation(**each) for each in tomllib.loads(LIST.read_text())["mutation"]]


class Copy:
    """A copy of the tree, with an interpreter that finds its package and the development environment's others."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(mode=0o755)
        for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
            if name and (ROOT / name).exists():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
        venv.create(directory / ".venv", with_pip=False, symlinks=True)
        [packages] = (directory / ".venv/lib").glob("python*/site-packages")
        # A directory that is named here is searched, but what it names itself is not: so the package is the copy's.
        (packages / "copy.pth").write_text("\n".join([str(directory), *site.getsitepackages()]) + "\n")

    def test(self, tests):
        """Run *tests* until one fails; return pytest's exit status and the end of what it said."""
        pytest = [str(self.directory / ".venv/bin/python"), "-m", "pytest", "-x", "-q", "--tb=line"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        try:
            done = subprocess.run(
                [*pytest, "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests],
                cwd=self.directory,
                env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return FAILED, "it came to no end"
        return done.returncode, "\n".join((done.stdout + done.stderr).splitlines()[-15:])

    def broken(self, mutation):
        """Return what the tests come to with *mutation*; the copy is whole again afterwards."""
        path = self.directory / mutation.file
        whole = path.read_text()
        try:
            path.write_text(mutation.applied_to(whole))
            status, said = self.test(mutation.killed_by)
        finally:
            path.write_text(whole)
        if status == FAILED and self.test(mutation.killed_by)[0] != PASSED:
            return FLAWED, said
        return status, said


def main():
    """Run the mutations."""
    parser = argparse.ArgumentParser(description="Break the program and see that the tests notice.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    todo = [each for each in mutations() if not options.names or each.name in options.names]
    if unknown := set(options.names) - {each.name for each in todo}:
        parser.error(f"no such mutation: {', '.join(sorted(unknown))}")
    try:
        for each in todo:
            each.applied_to((ROOT / each.file).read_text())
    except UnfitError as unfit:
        parser.error(str(unfit))
    with tempfile.TemporaryDirectory(prefix="ecrlogind-mutants-") as directory:
        os.chmod(directory, 0o755)  # the issuer's user runs what is in there too
        copies = [Copy(Path(directory, str(number))) for number in range(min(options.workers, len(todo)))]
        lived_on = [mutation for mutation, killed in tried(todo, copies) if not killed]
    print(f"{len(todo) - len(lived_on)} of {len(todo)} mutants killed")
    return 1 if lived_on else 0


def tried(todo, copies):
    """Yield each of *todo* with whether it was killed, as it is known, and say so; each of *copies* does its part."""
    waiting, told = queue.SimpleQueue(), queue.SimpleQueue()
    for mutation in todo:
        waiting.put(mutation)

    def work(copy):
        with suppress(queue.Empty):
            while True:
                mutation, began = waiting.get_nowait(), time.monotonic()
                told.put((mutation, *copy.broken(mutation), time.monotonic() - began))

    for copy in copies:
        threading.Thread(target=work, args=(copy,), daemon=True).start()
    for _ in todo:
        mutation, status, said, took = told.get()
        word = {PASSED: "LIVES ON", FAILED: "killed", FLAWED: "not shown: its tests fail without it, too"}.get(
            status, f"pytest ended with {status}"
        )
        print(f"{word:<10} {mutation.name} ({took:.0f} s)", flush=True)
        if status != FAILED:
            print(said, flush=True)
        yield mutation, status == FAILED


if __name__ == "__main__":
    sys.exit(main())
