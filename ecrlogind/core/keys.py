"""Which keys the settings have and where each belongs; what to tell somebody who wrote another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from ecrlogind.core import urls, values
from ecrlogind.core.entries import DESTINATION_KEYS, REGISTRY_KEYS
from ecrlogind.core.mistake import Mistake, nearest, one_of, quote
from ecrlogind.core.settings import Ready

LISTS: Mapping[str, Mapping[str, values.Convert]] = {"registries": REGISTRY_KEYS, "destinations": DESTINATION_KEYS}

_DAY = timedelta(days=1)
_TENTH = timedelta(milliseconds=100)

# Every single key: by the table it stands in, "" for none.
SECTIONS: Mapping[str, Mapping[str, values.Convert]] = {
    "": {"log": values.Word(("journal", "stderr"))},
    "boot": {"ready": values.Choice(Ready), "timeout": values.Span(_TENTH, _DAY)},
    "renew": {
        "at": values.fraction,
        "jitter": values.fraction,
        "floor": values.Span(timedelta(milliseconds=1), timedelta(hours=6)),
    },
    "aws": {
        "profile": values.text,
        "config_file": values.absolute_path,
        "credentials_file": values.absolute_path,
        "ca_bundle": values.absolute_path,
        "proxy": urls.proxy,
        "deadline": values.Span(_TENTH, timedelta(hours=1)),
        "imds": values.Word(("ipv4", "ipv6")),
        "use_fips": values.flag,
        "use_dualstack": values.flag,
    },
    "aws.endpoints": {
        "ecr": urls.endpoint,
        "ecr-public": urls.endpoint,
        "sts": urls.endpoint,
        "imds": urls.metadata_endpoint,
        "registry": urls.endpoint,
    },
    "check": {"registry": values.flag, "every": values.Span(_TENTH, 30 * _DAY)},
    "metrics": {"textfile": values.metrics_path},
    "stop": {"logout": values.flag},
}

_TABLES = tuple(section for section in SECTIONS if section and "." not in section)
_TOP = (*LISTS, *SECTIONS[""], *_TABLES)
# As near as "registry" is to "registries", and "logout" is not to "log".
_VERY_NEAR = 0.75


def shown(key: str) -> str:
    """Return *key* as it is written in TOML, fit for a message."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key, re.ASCII) else quote(key)


def unknown(where: str, key: str) -> Mistake:
    """Say that there is no *key* in the table or list *where*, and what may have been meant."""
    if where and key in _TOP:
        return Mistake(
            f"stands below {_place(where)}, so TOML takes it as a part of that",
            "move it above the first [table] of the file"
            if key not in _TABLES
            else f"write [{key}], not [{where}.{key}]",
        )
    here = _keys(where)
    meant = nearest(key, here, _VERY_NEAR)
    elsewhere = next((other for other in (*SECTIONS, *LISTS) if other != where and key in _keys(other)), None)
    if meant is None and elsewhere is not None:
        return Mistake("is no setting here", f"it belongs to {_place(elsewhere)}")
    meant = meant or nearest(key, here)
    if meant is not None:
        return Mistake("is no setting", f"did you mean {meant}?")
    for other in (*SECTIONS, *LISTS):
        if (meant := nearest(key, _keys(other), _VERY_NEAR)) is not None:
            return Mistake("is no setting", f"did you mean {meant} of {_place(other)}?")
    return Mistake("is no setting", f"there are {one_of(here)}")


def _keys(where: str) -> tuple[str, ...]:
    if where in LISTS:
        return tuple(LISTS[where])
    if not where:
        return _TOP
    return (*SECTIONS[where], *(["endpoints"] if where == "aws" else []))


def _place(where: str) -> str:
    if where in LISTS:
        return f"an entry of {where}"
    return f"[{where}]" if where else "the top of the file"
