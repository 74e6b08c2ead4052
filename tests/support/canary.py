"""Looks for secrets where none may be: whole, in base64, or any piece of them that is long enough to be of use."""

import base64
import os
import re
import threading
from contextlib import suppress

PIECE = 24
# What keys, tokens and base64 are made of: where none of that stands in a row, no such secret can.
_RUN = re.compile(rb"[A-Za-z0-9+/=_.-]{24,}")


class Needles:
    """What to look for: each secret, its base64 however it is aligned, and every piece of these of PIECE characters."""

    def __init__(self, secrets):
        self._pieces = {}
        for secret in secrets:
            for form in _forms(secret.encode()):
                for start in range(len(form) - PIECE + 1):
                    self._pieces.setdefault(form[start : start + PIECE], secret[:6])
        self._is_plain = all(_RUN.fullmatch(piece) for piece in self._pieces)

    def found_in(self, content):
        """Return the first piece of a secret in *content*, None if there is none."""
        pieces = self._pieces
        for run in _RUN.findall(content) if self._is_plain else [content]:
            for start in range(len(run) - PIECE + 1):
                if run[start : start + PIECE] in pieces:
                    return run[start : start + PIECE]
        return None


def _forms(secret):
    yield secret
    for before in (b"", b"1", b"12"):
        text = base64.b64encode(before + secret).rstrip(b"=")
        # The first and the last group hold bits of their neighbours.
        yield text[4:-4] if before else text[:-4]


def traced(log):
    """Return the words that run a command and write the arguments and the environment of every program to *log*."""
    return ["strace", "-f", "--seccomp-bpf", "-v", "-s", "65536", "-e", "trace=execve", "-o", str(log)]


def executions(log):
    """Return the text of every execve in *log* but the first, whose environment is what the test gave."""
    lines = [line for line in log.read_bytes().split(b"\n") if b" execve(" in line]
    return lines[1:]


class Sampler:
    """Reads, again and again, what anybody could of the processes below *ancestor* and of the files named by *look*."""

    def __init__(self, ancestor, look, every=0.005):
        self.seen = set()
        self._every = every
        self._ancestor = ancestor
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(self._every):
            own = self._read(f"/proc/{self._ancestor}/cmdline")
            for pid in descendants(self._ancestor):
                before, environment, after = (self._read(f"/proc/{pid}/{n}") for n in ("cmdline", "environ", "cmdline"))
                # Between fork and exec a child still shows what its parent was given.
                if own not in (before, after):
                    self.seen |= {before, environment, after}
            self.seen |= {self._read(path) for path in self._look()}

    @staticmethod
    def _read(path):
        with suppress(OSError), open(path, "rb") as file:
            return file.read(1 << 20)
        return b""


def descendants(ancestor):
    """Return the pids of all below *ancestor*, itself left out."""
    found, ahead = [], [ancestor]
    while ahead:
        pid = ahead.pop()
        with suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    below = [int(each) for each in file.read().split()]
                found += below
                ahead += below
    return found


def decoded(line):
    """Return what stands in a line of strace's without its escapes."""
    return re.sub(rb"\\(\d{1,3})", lambda escape: bytes([int(escape[1], 8) & 255]), line)
