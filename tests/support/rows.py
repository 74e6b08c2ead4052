"""Rows of the fault matrix: a test says by a decorator which one it provokes, and what must hold then.

A row ends with the invariants, whatever its test looked at: the test asks for a fixture that can `hold` them, and
pytest has it do so once the test has passed. docs/faults.py makes the page out of the same decorators.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# All there are. What each is about stands at its test.
SECTIONS = {
    "A": ("Boot, network, IMDS", [f"A{number}" for number in range(1, 17)]),
    "B": ("STS and ECR", [f"B{number}" for number in range(1, 19)]),
    "C": ("Time", [f"C{number}" for number in range(1, 6)]),
    "D": ("config.json and file system", [f"D{number}" for number in range(1, 31)]),
    "E": ("Process, signals, systemd", [f"E{number}" for number in range(1, 18)]),
    "F": ("Lifecycle, hostile input", [f"F-{number}" for number in range(1, 10)]),
}
IDS = [row for _, rows in SECTIONS.values() for row in rows]

_COUNTED = pytest.StashKey[dict[str, set[str]]]()


def row(identifier, *, provoked, holds, instead=""):
    """Mark a test as the one of the row *identifier*: *provoked* is the fault, *holds* what must be so.

    *instead* says what stands in for the fault, and why, where it cannot be had here. All three are literals: the page
    is made from the source.
    """
    assert identifier in IDS
    assert provoked
    assert holds
    return pytest.mark.row(identifier, instead=bool(instead))


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its decorator tells it. *test* is ``file::name`` from the root of the repository on."""

    identifier: str
    provoked: str
    holds: str
    instead: str
    test: str
    uses: tuple[str, ...]


def rows() -> Iterator[Row]:
    """Yield every row that a test is decorated with, read from the source."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "row":
                    said = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
                    yield Row(
                        ast.literal_eval(call.args[0]),
                        said["provoked"],
                        said["holds"],
                        said.get("instead", ""),
                        f"{path.relative_to(TESTS.parent)}::{node.name}",
                        tuple(each.arg for each in node.args.args),
                    )


def pytest_configure(config):
    config.addinivalue_line("markers", "row(id): the row of the fault matrix that the test provokes")
    config.stash[_COUNTED] = defaultdict(set)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    result = yield
    if pyfuncitem.get_closest_marker("row"):
        holders = [each for each in pyfuncitem.funcargs.values() if hasattr(each, "hold")]
        assert holders, "a row needs a host that its invariants can be looked at on"
        for each in holders:
            each.hold()
    return result


def pytest_collection_modifyitems(items):
    for item in items:
        if mark := item.get_closest_marker("row"):
            item.user_properties.append(("row", mark.args[0]))


class Counter:
    """Counts the rows by the tests that passed, in whichever process of xdist's they ran."""

    def __init__(self, config):
        self.counted = config.stash[_COUNTED]

    def pytest_runtest_logreport(self, report):
        for name, identifier in report.user_properties:
            if name == "row" and (report.failed or report.when == "call"):
                self.counted[identifier].add(report.outcome)

    def pytest_terminal_summary(self, terminalreporter):
        if not self.counted:
            return
        passed = sorted((each for each, said in self.counted.items() if said == {"passed"}), key=IDS.index)
        terminalreporter.section("fault matrix")
        terminalreporter.line(f"{len(passed)} of {len(IDS)} rows were provoked and held")
        if missing := [each for each in self.counted if each not in passed]:
            terminalreporter.line(f"not: {' '.join(sorted(missing, key=IDS.index))}")


def pytest_sessionstart(session):
    session.config.pluginmanager.register(Counter(session.config), "row counter")
