"""What runs on this machine."""

import os


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
