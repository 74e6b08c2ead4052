"""What runs on this machine."""

import os
from pathlib import Path


def children(parent, name):
    """Return the pids of the children of *parent* whose command line names *name*."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    ppid = int(file.read().rpartition(")")[2].split()[1])
                with open(f"/proc/{entry}/cmdline") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if ppid == parent and name in words:
                found.append(int(entry))
    return found


def state_of(pid):
    """Return the state of a process as one letter, Z while nobody has waited for its end; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
