"""A bill of materials for a directory of wheels, in CycloneDX's JSON: https://cyclonedx.org/docs/1.6/json/.

The same wheels give the same text: it has no time, and its serial number is made of their hashes.
"""

import hashlib
import json
import uuid
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LONGEST_NAME = 80  # of a license; some write its whole text there


def bill(wheels: list[Path], product: str) -> str:
    """Return the bill for *wheels*, of which *product* names the one that all the others are for."""
    described = {canonicalize_name(found["Name"]): (wheel, found) for wheel in wheels for found in [_metadata(wheel)]}
    components = {name: _component(*each) for name, each in described.items()}
    main = components[product]
    hashes = "".join(sorted(component["hashes"][0]["content"] for component in components.values()))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, hashes)}",
        "version": 1,
        "metadata": {"component": {**main, "type": "application"}},
        "components": [component for component in components.values() if component is not main],
        "dependencies": [
            {"ref": components[name]["bom-ref"], "dependsOn": _needs(found, components)}
            for name, (_, found) in described.items()
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        return HeaderParser().parsestr(archive.read(name).decode())


def _component(wheel: Path, found: Message) -> dict[str, Any]:
    name = canonicalize_name(found["Name"])
    url = f"pkg:pypi/{name}@{found['Version']}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": found["Name"],
        "version": found["Version"],
        "purl": url,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
        "licenses": [_license(found)],
    }


def _license(found: Message) -> dict[str, Any]:
    """Return the license as its wheel tells it: an SPDX expression, else a name."""
    if expression := found["License-Expression"]:
        return {"expression": expression}
    name = found["License"] or ""
    if not name or len(name) > _LONGEST_NAME or "\n" in name:
        kinds = [each for each in found.get_all("Classifier", []) if each.startswith("License ::")]
        name = ", ".join(each.rpartition(" :: ")[2] for each in kinds) or "not told"
    return {"license": {"name": name}}


def _needs(found: Message, components: dict[str, dict[str, Any]]) -> list[str]:
    """Return which of *components* a wheel needs: what a marker or an extra leaves out is not among them."""
    names = {canonicalize_name(Requirement(each).name) for each in found.get_all("Requires-Dist", [])}
    return sorted(components[name]["bom-ref"] for name in names & set(components))
