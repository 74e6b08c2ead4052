"""Write anew what is made in docs/man: regions of the pages, from the texts of settings, codes and status.

A region begins with a comment `made: NAME` and ends with `made end`; what stands around it is written by hand.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from docs import mdoc, settings
from ecrlogind.core import entries, keys, values
from ecrlogind.core.duration import format_duration
from ecrlogind.core.mistake import one_of

DOCS = Path(__file__).parent
PAGES = DOCS / "man"
_REGION = re.compile(r'^(\.\\" made: (\w+)\n).*?^(\.\\" made end\n)', re.MULTILINE | re.DOTALL)


def _form(convert: values.Convert) -> str:
    """Return what *convert* takes, in words."""
    match convert:
        case values.Word(known):
            return " or ".join(f"`{each}`" for each in known)
        case values.Choice(words):
            return one_of(f"`{word}`" for word in words)
        case values.Span(least, most):
            return f"a duration from `{format_duration(least)}` to `{format_duration(most)}`"
        case values.Items(each):
            return f"a list: {_form(each)}" if _has_form(each) else "a list"
        case _:
            return _FORMS[convert]


_FORMS: Mapping[values.Convert, str] = {
    values.flag: "`true` or `false`",
    values.fraction: "a number from 0 up to, but not including, 1",
    values.absolute_path: "an absolute path",
    values.metrics_path: "an absolute path that ends in `.prom`",
    values.mode: "three octal digits, with a leading zero or without",
    values.user: "a user's name",
    values.group: "a group's name",
    values.image: "repository and tag or digest, such as `base:latest`",
    entries.account_id: "twelve digits, or `self`",
    entries.region_name: "a region, or `self`",
}


def _setting(key: str, convert: values.Convert, text: str, default: object) -> Iterator[str]:
    parts = [_sentence(_form(convert))] if _has_form(convert) else []
    parts.append(text)
    if default is not None:
        parts.append(f"Default: `{default if isinstance(default, str) else json.dumps(default)}`.")
    yield from mdoc.item(f"Cm {key}", " ".join(parts))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _has_form(convert: values.Convert) -> bool:
    """Whether a word is to be said on what stands there; a role's and a URL's texts say it themselves."""
    return isinstance(convert, values.Word | values.Choice | values.Span | values.Items) or convert in _FORMS


def _keys(section: str) -> Iterator[str]:
    texts = settings.TEXTS["keys"]
    texts = texts[section] if section else texts
    for key, convert in keys.SECTIONS[section].items():
        yield from _setting(key, convert, texts[key], settings.default(section, key))


def _entries(name: str) -> Iterator[str]:
    table = settings.schema()["definitions"][name.removesuffix("s").replace("registrie", "registry")]["properties"]
    for key, convert in keys.LISTS[name].items():
        yield from _setting(key, convert, settings.TEXTS[name][key], table[key].get("default"))


def _sections() -> Iterator[str]:
    for section in keys.SECTIONS:
        if section:
            yield rf".Ss [{section}]\&"  # or the bracket would be taken for a full stop
            yield from mdoc.listing(_keys(section))


# ---- codes and events


def _codes_source() -> Any:
    return tomllib.loads((DOCS / "codes.toml").read_text())


_FAMILIES = {
    "issuing": "Of registries: AWS, or the way to it, gives no credential",
    "rejecting": "Of registries: the registry does not take the credential",
    "pulling": "Of registries: the registry gives no image",
    "delivering": "Of logins: a file cannot be written",
    "by_docker": "Of logins: docker itself cannot log in",
    "noting": "Of logins, in the journal alone: delivered all the same",
    "shadowing": "Of logins: clients ignore it",
    "withholding": "Of logins: not tried as things are",
    "answering": "In the journal alone: a user cannot be given answers",
    "settings": "Of the document: the settings",
    "measuring": "In the journal alone: the metrics",
}


def _codes() -> Iterator[str]:
    for family, codes in _codes_source()["codes"].items():
        yield f".Ss {_FAMILIES[family]}"
        yield from mdoc.listing(
            line
            for code, text in codes.items()
            for line in mdoc.item(f"Er {code}", f"{text['means']} Look at: {text['look']} Do: {text['do']}")
        )


def _events() -> Iterator[str]:
    source = _codes_source()["events"]
    for name, event in source.items():
        lines = [event["subject"] + ".", *event["text"].strip().splitlines()]
        yield from mdoc.item(f"Em {name}", " ".join(lines))


def _findings() -> Iterator[str]:
    rows = re.findall(r"^\| `([a-z_*]+)` \| (.*) \|$", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    for code, text in rows:
        yield from mdoc.item(f"Er {code}", _sentence(text))


# ---- the status document


def _fields(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for name, field in node["properties"].items():
        found, may_be_null = _resolved(field, definitions)
        kind = _kind_of(found)
        text = field.get("description") or found.get("description") or ""
        form = f"{kind}{', or null' if may_be_null else ''}."
        yield from mdoc.item(f"Va {name}", f"{form[:1].upper()}{form[1:]} {text}".strip())


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    may_be_null = False
    while "$ref" in field or "anyOf" in field:
        if "$ref" in field:
            field = {**definitions[field["$ref"].rpartition("/")[2]]}
        else:
            may_be_null = True
            [inner] = [each for each in field["anyOf"] if each != {"type": "null"}]
            field = {**{key: value for key, value in field.items() if key != "anyOf"}, **inner}
    return field, may_be_null


def _kind_of(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return one_of(f"`{each}`" for each in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    return _JSON_KINDS[field["type"]]


_JSON_KINDS = {
    "string": "a text",
    "boolean": "true or false",
    "integer": "a number",
    "array": "a list",
    "object": "a table",
}


def _status(name: str) -> Callable[[], Iterator[str]]:
    def make() -> Iterator[str]:
        schema = json.loads((DOCS / "status.schema.json").read_text())
        yield from mdoc.listing(_fields(schema["$defs"][name] if name else schema, schema["$defs"]))

    return make


MADE: Mapping[str, Callable[[], Iterator[str]]] = {
    "top": lambda: mdoc.listing(_keys("")),
    "registries": lambda: mdoc.listing(_entries("registries")),
    "destinations": lambda: mdoc.listing(_entries("destinations")),
    "sections": _sections,
    "codes": _codes,
    "events": lambda: mdoc.listing(_events()),
    "findings": lambda: mdoc.listing(_findings()),
    "document": _status(""),
    "registry": _status("registry"),
    "login": _status("login"),
    "error": _status("error"),
}


def renewed(text: str) -> str:
    """Return a page with what is made in it made anew; raise KeyError for a region that nothing makes."""
    return _REGION.sub(lambda found: found[1] + "\n".join([*MADE[found[2]](), found[3]]), text)


if __name__ == "__main__":
    for page in sorted(PAGES.iterdir()):
        page.write_text(renewed(page.read_text()))
