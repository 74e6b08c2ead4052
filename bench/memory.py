"""How much memory the processes of a command take together, looked at while it runs (and never while it is timed).

`ru_maxrss` cannot tell: a child begins with its parent's mark, so it is at least what the bench itself takes. PSS
counts a page that several processes share once.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from bench.measure import Contender

PAUSE = 0.004


def peak_of(contender: Contender) -> int:
    """Run *contender* once; return the most bytes that it and its descendants were seen to have together."""
    contender.before()
    process = contender.started()
    seen = [0]
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(sum(pss(pid) for pid in family(process.pid)))
            time.sleep(PAUSE)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        contender.ended(process)
    finally:
        over.set()
        looking.join()
    return max(seen)


def family(pid: int) -> list[int]:
    """Return *pid* and all its descendants."""
    found = [pid]
    for each in found:
        try:
            tasks = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def pss(pid: int) -> int:
    """Return the proportional set size of *pid* in bytes; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
