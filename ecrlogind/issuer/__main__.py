"""Run as ``python -I -m ecrlogind.issuer``: one `Question` on fd 0, answers on fd 1, a line each; exit 0.

Exit 1 means that a part of the question has no answer, for a fault of ours; stderr has its kind and place, no values.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from ecrlogind.core.codec import WireError, decode
from ecrlogind.core.wire import Answer, Question, encode_answer
from ecrlogind.issuer import process

# The longest question: CA bundles and config files of whole companies fit in.
LONGEST_QUESTION = 8 << 20
# The keeper writes at once. Whoever connects and says nothing is not waited for.
QUESTION_PATIENCE = 30.0
# After the deadline, which counts twice at most, and its grace: what is still there this much later, the kernel ends.
LAST_RESORT = 5


def read_line(descriptor: int) -> bytes:
    """Return what comes before the first newline, nothing if nobody asks; raise ValueError if it has no end."""
    line = bytearray()
    until = time.monotonic() + QUESTION_PATIENCE
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        chunk = os.read(descriptor, 1 << 16) if ready else b""
        line += chunk
        if not line:
            break
        if not chunk or len(line) > LONGEST_QUESTION:
            raise ValueError("no question")
    return bytes(line)


def main() -> int:
    """Answer the question; return the exit code."""
    process.harden()
    asked, answers = process.take_channels()

    # Before the question comes: a keeper that starts sends for us while it loads.
    from ecrlogind.issuer.asking import Asking

    try:
        line = read_line(asked)
        if not line:
            return 0
        question = decode(Question, line)
    except (WireError, ValueError):
        os.write(2, b"ecrlogind.issuer: what came on fd 0 is not a question\n")
        return 1
    signal.alarm(int(2 * question.deadline.total_seconds()) + LAST_RESORT)

    def emit(answer: Answer) -> None:
        line = encode_answer(answer)
        while line:
            line = line[os.write(answers, line) :]

    return 0 if Asking(question, emit).run() else 1


if __name__ == "__main__":
    try:
        code = main()
    except BaseException:  # noqa: BLE001  the end of the process: its kind and place are told
        sys.excepthook(*sys.exc_info())
        code = 1
    # Threads may hang in a resolver, and taking boto3 apart takes longer than the answer took.
    os._exit(code)
