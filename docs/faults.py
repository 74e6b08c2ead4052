"""Write docs/faults.md, the fault matrix, from the decorators of the tests that provoke its rows: `make pages`."""

from pathlib import Path

from tests.support.rows import SECTIONS, rows

REPO = Path(__file__).parents[1]
PAGE = REPO / "docs" / "faults.md"

_HEAD = """# What it survives, and how that is shown

<!-- Made by docs/faults.py from the tests: change it there. -->

Every row is a test that provokes the fault for real, in front of the real daemon: `make test` runs them all, and
counts the rows by the tests that passed. `.venv/bin/pytest tests/faults -k b6` runs one. AWS is played by `standin/`;
everything else (files, users, mounts, signals, processes, clocks, docker) is the machine's own.

A story has four logins: two registries at two destinations, in files that hold somebody else's logins already. One
registry or one destination is what the fault hits. After every row, whatever else its test looks at, one piece of code
([tests/support/invariants.py](../tests/support/invariants.py)) sees that

1. every destination parses, at every moment at which somebody read it, and holds every byte of what others put there;
2. no secret is to be seen, whole, in base64 or in any piece of 24 characters: in the log, the status document, any
   argument or environment, what commands print, files of ours; no temporary file and no core is left;
3. the daemon lives, or was started again, or ended as it should;
4. every login that the fault does not touch is in place, and AWS takes it;
5. status tells the truth: [an oracle](../tests/support/truth.py) that looks at AWS's books and at the files, and knows
   nothing of the daemon, says what each login is, and the verdict;
6. AWS was asked no more often than the bound: two tries of one thing lie at least half a second apart, unless somebody
   asked for it at once.

Where the design chose otherwise than the matrix once proposed, the design stands, and the row says what it is.
"""


def page() -> str:
    """Return the page."""
    found = {each.identifier: each for each in rows()}
    lines = [_HEAD]
    for letter, (title, identifiers) in SECTIONS.items():
        lines += [f"## {letter}. {title}", "", "| row | what is provoked | what must hold | how |", "|---|---|---|---|"]
        for each in (found[identifier] for identifier in identifiers if identifier in found):
            file, _, name = each.test.partition("::")
            how = f"[{name}](../{file})" + (f". {each.instead}" if each.instead else "")
            lines += [f"| {each.identifier} | {each.provoked} | {each.holds} | {how} |"]
        lines += [""]
    explained = [each.identifier for each in found.values() if each.instead]
    lines += [f"Of {len(found)} rows, {len(explained)} are provoked by a stand-in for the fault, and say so."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
