"""Which logins of ours are remembered by their digests, so that what stands in a file is known as ours.

They stand in a tuple per host: newest first, but for the last, which a courier saw stand there. That one is never
forgotten, however many are issued while the file cannot be reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ecrlogind.core.wire import Found

MOST = 32


def sent(known: tuple[str, ...], digest: str) -> tuple[str, ...]:
    """Return *known* and *digest*, which is about to be delivered."""
    if digest in known:
        return known
    return (digest, *known) if len(known) < MOST else (digest, *known[: MOST - 2], known[-1])


def after(
    delivered: Mapping[str, tuple[str, ...]],
    found: Mapping[str, Found],
    digests: Mapping[str, str],
    removed: Collection[str],
) -> Mapping[str, tuple[str, ...]]:
    """Return what is remembered after a courier with *digests* came back and said what it *found*."""
    standing = {host for host in digests if host in found and found[host].is_ours}
    return {
        host: _seen(known, digests[host]) if host in standing else known
        for host, known in delivered.items()
        if host not in removed
    }


def _seen(known: tuple[str, ...], digest: str) -> tuple[str, ...]:
    return known if known[-1:] == (digest,) else (*(each for each in known if each != digest), digest)
