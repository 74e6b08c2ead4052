"""Make docs/config.schema.json: what editors complete and check a config.toml by.

Types, words, bounds and defaults are taken from the program's own settings, the sentences from docs/settings.toml. It
is a schema of draft 4, the newest that TOML's editors read; a test holds it against what `ecrlogind check` takes. What
it cannot say (that a name is among the registries, that no two entries clash) is left to that.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ecrlogind.core import duration, entries, keys, roles, urls, values
from ecrlogind.core.grammar import parse
from ecrlogind.core.registry import PARTITIONS, PUBLIC_DUAL_STACK_HOST, PUBLIC_HOST
from ecrlogind.core.render import to_toml
from ecrlogind.core.wire import SELF

TEXTS = tomllib.loads(Path(__file__).with_name("settings.toml").read_text())
SCHEMA = Path(__file__).with_name("config.schema.json")

Json = dict[str, Any]

_REGION = "|".join(f"(?:{partition.regions})" for partition in PARTITIONS)
_ECR_HOST = "|".join(
    rf"[0-9]{{12}}\.dkr(?:\.ecr(?:-fips)?\.(?:{each.regions})\.{re.escape(each.suffix)}"
    rf"|-ecr(?:-fips)?\.(?:{each.regions})\.{re.escape(each.dual_stack_suffix)})"
    for each in PARTITIONS
)
_PUBLIC = f"{re.escape(PUBLIC_HOST)}|{re.escape(PUBLIC_DUAL_STACK_HOST)}"
_KNOWN_HOST = f"{SELF}|{_PUBLIC}|{_ECR_HOST}"
_SPAN = rf" *(?:[0-9]{{1,15}}(?:\.[0-9]{{1,9}})? *(?:{'|'.join(sorted(duration.UNITS, reverse=True))}) *)+"
_NO_CONTROL = r"[^\u0000-\u001f\u007f-\u009f]+"
_PATH = r"(?:/(?!\.{1,2}(?:/|$))[^/\u0000-\u001f\u007f-\u009f]+)+"
_TEXT = {"type": "string", "minLength": 1, "maxLength": values.LONGEST_TEXT}


def _pattern(pattern: str) -> Json:
    return {**_TEXT, "pattern": f"^(?:{re.sub(r'[(][?]P<[a-z_]+>', '(?:', pattern)})$"}


def _list(item: Json) -> Json:
    return {"type": "array", "minItems": 1, "maxItems": values.LONGEST_LIST, "items": item}


_ROLE = _pattern(roles.ROLE_ARN.pattern)
# What each kind of value is in JSON; an error, where a setting of a new kind has none.
_KINDS: Mapping[values.Convert, Json] = {
    values.text: _pattern(_NO_CONTROL),
    values.flag: {"type": "boolean"},
    values.fraction: {"type": "number", "minimum": 0, "maximum": 1, "exclusiveMaximum": True},
    values.absolute_path: _pattern(_PATH),
    values.metrics_path: _pattern(rf"(?=.*\.prom$){_PATH}"),
    values.mode: _pattern("0?6[0246][04]"),
    values.user: _pattern(rf"(?!\.{{1,2}}$)(?![0-9]+$){values.USER.pattern}"),
    values.group: _pattern(rf"(?!\.{{1,2}}$)(?![0-9]+$){values.USER.pattern}"),
    values.image: _pattern(rf"(?!(?=[^/]*\.[^/]*/).*\.dkr){values.IMAGE.pattern}"),
    roles.role_arns: {"anyOf": [_ROLE, _list(_ROLE)]},
    roles.external_id: _pattern(roles.EXTERNAL_ID.pattern),
    roles.session_name: _pattern(roles.SESSION_NAME.pattern),
    urls.proxy: _pattern(r"https?://[^/?#\s\\]+/?"),
    urls.endpoint: _pattern(r"https?://[^@?#\s\\]+"),
    urls.metadata_endpoint: _pattern(r"https?://[^@?#\s\\]+"),
    entries.account_id: _pattern(f"{SELF}|[0-9]{{12}}"),
    entries.region_name: _pattern(f"{SELF}|{_REGION}"),
}


def kind(convert: values.Convert) -> Json:
    """Return what *convert* takes, in JSON."""
    match convert:
        case values.Word(known):
            return {"enum": list(known)}
        case values.Choice(words):
            return {"enum": [str(word) for word in words]}
        case values.Span():
            return _pattern(_SPAN)
        case values.Items(each):
            return _list(kind(each))
        case _:
            return dict(_KINDS[convert])


@cache
def defaults() -> Json:
    """Return what is in effect where nothing is written, as `check --print` writes it."""
    return tomllib.loads(to_toml(parse([], runs_as="root")))


def default(section: str, key: str) -> object:
    """Return a single key's default, None where there is none."""
    at: Any = defaults()
    for part in section.split(".") if section else ():
        at = at.get(part, {})
    return at.get(key)


def _described(converts: Mapping[str, values.Convert], texts: Mapping[str, str], section: str | None = None) -> Json:
    properties = {}
    for key, convert in converts.items():
        found = None if section is None else default(section, key)
        more = {} if found is None else {"default": found}
        properties[key] = {"description": texts[key], **kind(convert), **more}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _registry() -> Json:
    table = _described(entries.REGISTRY_KEYS, TEXTS["registries"])
    known = {"properties": {"host": _pattern(_KNOWN_HOST)}, "required": ["host"]}
    neither = {"not": {"anyOf": [{"required": ["account"]}, {"required": ["region"]}]}}
    alias = {"not": {"pattern": f"^(?:{_PUBLIC}|{_ECR_HOST})$"}}
    placed = {"properties": {"host": {**_pattern(r"(?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*"), **alias}}}
    return {
        **table,
        "anyOf": [{"allOf": [known, neither]}, {**placed, "required": ["account", "region"]}],
        "dependencies": {key: ["role_arn"] for key in entries.NEEDS_ROLE},
    }


def _destination() -> Json:
    table = _described(entries.DESTINATION_KEYS, TEXTS["destinations"])
    for key, word in (("via", "file"), ("on_shadow", "report"), ("on_login", "keep")):
        table["properties"][key]["default"] = word
    of_a_path = {"properties": {"via": {"enum": ["file", "helper"]}}, "required": ["path"]}
    no_owner = {"not": {"anyOf": [{"required": [key]} for key in ("path", "owner", "group")]}}
    return {
        **table,
        "anyOf": [
            {"allOf": [{"required": ["user"]}, no_owner]},
            {"allOf": [of_a_path, {"not": {"required": ["user"]}}]},
        ],
    }


def schema() -> Json:
    """Return the schema."""
    host = {**_pattern(_KNOWN_HOST), "description": TEXTS["registries"]["host"]}
    properties = {
        "registries": {
            "description": TEXTS["lists"]["registries"],
            **_list({"anyOf": [host, {"$ref": "#/definitions/registry"}]}),
            "default": defaults()["registries"],
        },
        "destinations": {
            "description": TEXTS["lists"]["destinations"],
            **_list({"$ref": "#/definitions/destination"}),
        },
        **_described(keys.SECTIONS[""], TEXTS["keys"], "")["properties"],
    }
    for section, converts in keys.SECTIONS.items():
        if section:
            place = properties
            *parents, name = section.split(".")
            for parent in parents:
                place = place[parent]["properties"]
            place[name] = _described(converts, TEXTS["keys"][section], section)
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "The settings of ecrlogind: /etc/ecrlogind/config.toml and config.d/*.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "definitions": {"registry": _registry(), "destination": _destination()},
    }


def text() -> str:
    """Return it as it stands in the file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text())
