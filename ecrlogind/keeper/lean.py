"""APScheduler and structlog without what they import and we never use.

They name asyncio at their tops, APScheduler also process pools and the metadata of all that is installed: a fifth of
the keeper's memory, for as long as the host runs, and half of the time that it starts in.
"""

from __future__ import annotations

import inspect
from functools import partial

from ecrlogind.understudies import understudied


def _no_version(distribution: str) -> str:
    raise LookupError(distribution)


lean = partial(
    understudied,
    {
        "asyncio": {"iscoroutinefunction": inspect.iscoroutinefunction},
        "apscheduler.executors.pool": {"ThreadPoolExecutor": object},
        "importlib.metadata": {
            "version": _no_version,
            "PackageNotFoundError": LookupError,
            "entry_points": lambda **_: (),
        },
    },
)
