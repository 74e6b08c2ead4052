"""From what TOML gave to `Settings`, or to every problem at once.

The main file comes first, then the drop-ins: their items append to the two lists, their keys override single keys. All
that was written is looked at, also what a later file overrides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ecrlogind.core import values
from ecrlogind.core.clashes import clashes
from ecrlogind.core.credential import Renewal
from ecrlogind.core.entries import (
    SOME_INSTANCE,
    destination_mistakes,
    merged,
    registry_entry,
    registry_mistakes,
)
from ecrlogind.core.keys import LISTS, SECTIONS, shown, unknown
from ecrlogind.core.mistake import Mistake, nearest, one_line, quote
from ecrlogind.core.settings import (
    AwsSettings,
    Boot,
    Check,
    Destination,
    Problem,
    RegistryEntry,
    Settings,
    SettingsError,
)
from ecrlogind.core.wire import SELF

__all__ = ["Document", "parse"]


@dataclass(frozen=True, slots=True)
class Document:
    """One file's TOML: the name to call it by, and what it says."""

    file: str
    content: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something is written."""

    file: str
    key: str

    def below(self, key: str) -> _Place:
        """Return the place of one of its keys."""
        return _Place(self.file, f"{self.key}.{shown(key)}" if self.key else shown(key))


@dataclass(slots=True)
class _Draft:
    """What has been read so far, and what was wrong with it.

    *registries* and *destinations* hold entries that are right by themselves. *names* are what entries can be called
    by; those that are wrong too, since whoever names one of them has made no mistake.
    """

    problems: list[Problem]
    single: dict[str, dict[str, Any]] = field(default_factory=lambda: {section: {} for section in SECTIONS})
    places: dict[str, _Place] = field(default_factory=dict)
    registries: list[tuple[_Place, Mapping[str, Any]]] = field(default_factory=list)
    destinations: list[tuple[_Place, Destination]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def report(self, place: _Place, mistake: Mistake) -> None:
        """Note what is wrong."""
        place = place.below(mistake.key) if mistake.key else place
        self.problems.append(Problem(one_line(place.file), place.key, mistake.message, mistake.hint))


def parse(documents: Sequence[Document], *, runs_as: str, unread: Sequence[Problem] = ()) -> Settings:
    """Return the settings that *documents* make; raise SettingsError with all that is wrong.

    *runs_as* is the user we run as: the one destination where none is named. *unread* is what is wrong with files that
    are not among the documents; then nothing is said about what may stand in them.
    """
    draft = _Draft(list(unread))
    for document in documents:
        _read_section(draft, _Place(document.file, ""), "", document.content)
    registries = _registries(draft)
    draft.names = draft.names or {SELF}
    destinations = _destinations(draft, registries, is_whole=not unread)
    settings = Settings(
        registries=tuple(registries) or (_self(draft),),
        destinations=tuple(destinations) or (Destination(user=runs_as),),
        **draft.single[""],
        boot=Boot(**draft.single["boot"]),
        renew=_renewal(draft),
        aws=AwsSettings(**draft.single["aws"], endpoints=draft.single["aws.endpoints"]),
        check=Check(**draft.single["check"]),
        metrics_textfile=draft.single["metrics"].get("textfile"),
        logout_on_stop=draft.single["stop"].get("logout", False),
    )
    for clash in clashes(settings, SOME_INSTANCE):
        first = registries[clash.first].key
        draft.report(
            registries[clash.second],
            Mistake(
                f"is a second identity for {_called(clash.second)} at {clash.place}, after {first}",
                "give one of the two a `name`, and a destination of its own that lists it",
            ),
        )
    if draft.problems:
        raise SettingsError(tuple(draft.problems))
    return settings


def _called(entry: RegistryEntry) -> str:
    known = entry.registries(None)
    return known[0].host if known else quote(entry.name)


def _self(draft: _Draft) -> RegistryEntry:
    return registry_entry({"host": SELF}, draft.single["aws"].get("profile"))


# --- reading what is written


def _read_section(draft: _Draft, place: _Place, section: str, content: Mapping[str, object]) -> None:
    for key, value in content.items():
        here = place.below(key)
        path = f"{section}.{key}" if section else key
        try:
            if not section and key in LISTS:
                _read_list(draft, here, key, value)
            elif path in SECTIONS and "." not in key and path:
                _read_section(draft, here, path, values.table(value))
            elif key in SECTIONS[section]:
                draft.single[section][key] = SECTIONS[section][key](value)
                draft.places[path] = here
            else:
                raise unknown(section, key)
        except Mistake as mistake:
            draft.report(here, mistake)


def _read_list(draft: _Draft, place: _Place, name: str, value: object) -> None:
    if isinstance(value, Mapping):
        raise Mistake("must be a list, not a table", f"write [[{name}]], with two brackets")
    example = '["self"]' if name == "registries" else '[{ user = "root" }]'
    for index, item in enumerate(values.list_of(value, example)):
        here = _Place(place.file, f"{name}[{index}]")
        try:
            if name == "registries":
                _read_registry(draft, here, item)
            else:
                _read_destination(draft, here, item)
        except Mistake as mistake:
            draft.report(here, mistake)


def _read_registry(draft: _Draft, place: _Place, item: object) -> None:
    if isinstance(item, str):
        draft.names.add(item)
        read: Mapping[str, Any] = {"host": values.text(item)}
        for mistake in registry_mistakes(read, read):
            raise Mistake(mistake.message, mistake.hint)
    else:
        if not isinstance(item, Mapping):
            raise Mistake(f"must be a text or a table, not {values.kind_of(item)}", 'write "HOST" or { host = "HOST" }')
        name = item.get("name", item.get("host"))
        draft.names.update([name] if isinstance(name, str) else [])
        read = _read_keys(draft, place, "registries", item)
        mistakes = list(registry_mistakes(item, read))
        for mistake in mistakes:
            draft.report(place, mistake)
        if mistakes or len(read) < len(item):
            return
    draft.registries.append((place, read))


def _read_destination(draft: _Draft, place: _Place, item: object) -> None:
    if not isinstance(item, Mapping):
        right = f'{{ user = "{item}" }}' if isinstance(item, str) else '{ user = "root" }'
        raise Mistake(f"must be a table, not {values.kind_of(item)}", f"write {right}")
    read = _read_keys(draft, place, "destinations", item)
    mistakes = list(destination_mistakes(item, read))
    for mistake in mistakes:
        draft.report(place, mistake)
    if not mistakes and len(read) == len(item):
        draft.destinations.append((place, Destination(**read)))


def _read_keys(draft: _Draft, place: _Place, name: str, item: Mapping[str, object]) -> dict[str, Any]:
    read = {}
    for key, value in item.items():
        try:
            if key not in LISTS[name]:
                raise unknown(name, key)
            read[key] = LISTS[name][key](value)
        except Mistake as mistake:
            draft.report(place.below(key), mistake)
    return read


# --- what only the whole of it shows


def _renewal(draft: _Draft) -> Renewal:
    renewal = Renewal(**draft.single["renew"])
    is_wrong = any(problem.key.startswith("renew.") for problem in draft.problems)
    if renewal.jitter >= renewal.at and not is_wrong:
        key = "renew.jitter" if "renew.jitter" in draft.places else "renew.at"
        draft.report(
            draft.places[key],
            Mistake(
                f"leaves no time: `at` is {renewal.at}, `jitter` takes up to {renewal.jitter} off",
                "make `jitter` smaller than `at`",
            ),
        )
    return renewal


def _registries(draft: _Draft) -> dict[RegistryEntry, _Place]:
    """Return each entry once, with where it is first written."""
    entries: dict[RegistryEntry, _Place] = {}
    named: dict[str, tuple[RegistryEntry, _Place]] = {}
    for place, read in draft.registries:
        entry = registry_entry(read, draft.single["aws"].get("profile"))
        draft.names.add(entry.name)
        if entry in entries:
            continue
        other, first = named.setdefault(entry.name, (entry, place))
        if other is not entry and (entry.named or other.named):
            draft.report(
                place,
                Mistake(f"{quote(entry.name)} is the name of {first.key} already", "give each its own name", "name"),
            )
        entries[entry] = place
    return entries


def _destinations(
    draft: _Draft, registries: Mapping[RegistryEntry, _Place], *, is_whole: bool
) -> tuple[Destination, ...]:
    unnamed = tuple(dict.fromkeys(entry.name for entry in registries if not entry.named))
    by_label: dict[str, Destination] = {}
    for place, destination in draft.destinations:
        for name in destination.registries or ():
            if is_whole and name not in draft.names:
                draft.report(place, _no_such_registry(name, draft.names, registries))
        first = by_label.setdefault(destination.label, destination)
        try:
            by_label[destination.label] = merged(first, destination, unnamed)
        except Mistake as mistake:
            draft.report(place, mistake)
    return tuple(by_label.values())


def _no_such_registry(name: str, names: set[str], registries: Mapping[RegistryEntry, _Place]) -> Mistake:
    for entry in registries:
        if entry.named and name == _called(entry):
            return Mistake(f"{quote(name)} has a name", f'write "{entry.name}"', "registries")
    meant = nearest(name, names)
    hint = (
        f'did you mean "{meant}"?'
        if meant
        else "add it to `registries` first, or write one that is there as it is there"
    )
    return Mistake(f"{quote(name)} is none of the registries", hint, "registries")
