"""`make bench`: ecrlogind and its peers against the same stand-in AWS, side by side in one run.

Whole processes, in turn, after a warm-up; medians, and ratios to each peer. As root on Debian or Ubuntu it installs the
peers (the AWS CLI and boto3 from the Python package index, into venvs of their own). Every single run goes to
bench/results.json; with `--write` the tables in docs/performance.md are refreshed.
"""

from __future__ import annotations

import argparse
import sys
import time

from bench import clients, cold, healing, idle, logins, place, sizes, users
from bench.report import Found

PAGE = place.ROOT / "docs" / "performance.md"
RESULTS = place.ROOT / "bench" / "results.json"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
CHAPTERS = {
    "logins": logins.measure,
    "cold": cold.measure,
    "clients": clients.measure,
    "users": users.measure,
    "healing": healing.measure,
    "sizes": sizes.measure,
    "idle": idle.measure,
}


def main() -> int:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each contender (5)")
    parser.add_argument("--only", nargs="+", choices=CHAPTERS, default=list(CHAPTERS), help="these chapters alone")
    parser.add_argument("--write", action="store_true", help="refresh the tables in docs/performance.md")
    options = parser.parse_args()
    if options.write and set(options.only) != set(CHAPTERS):
        parser.error("--write takes a whole run")
    found = Found()
    with place.opened() as here:
        for name in options.only:
            began = time.monotonic()
            CHAPTERS[name](here, found, options.runs)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    tables = found.markdown(options.runs)
    print(tables)
    RESULTS.write_text(found.json())
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{tables}{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
