"""What lies in a wheelhouse beside its wheels: a hash of every file, and the bill of materials."""

import hashlib
import json
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import baking
from tests.support.baking import PACKER


@pytest.fixture(scope="module")
def house():
    return baking.wheelhouse()


@pytest.fixture(scope="module")
def bill(house):
    return json.loads((house / "bom.json").read_text())


def components(bill):
    return [bill["metadata"]["component"], *bill["components"]]


def test_every_file_has_a_hash_that_sha256sum_checks(house):
    named = {line.split("  ")[1] for line in (house / "SHA256SUMS").read_text().splitlines()}
    check = ["sha256sum", "--check", "--strict", "--quiet"]

    assert named == {path.name for path in house.iterdir()} - {"SHA256SUMS"}
    subprocess.run([*check, "SHA256SUMS"], cwd=house, check=True)
    forged = (house / "SHA256SUMS").read_text().replace("bom.json", "requirements.txt")
    assert subprocess.run(check, cwd=house, input=forged, text=True, capture_output=True, check=False).returncode


def test_the_bill_is_one_by_the_standard_s_own_schema(house):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str((house / "bom.json").read_text()) is None


def test_the_bill_has_each_wheel_with_its_hash_and_its_license(house, bill):
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in house.glob("*.whl")}

    assert {each["hashes"][0]["content"] for each in components(bill)} == hashes
    assert len(components(bill)) == len(hashes) > 10
    for each in components(bill):
        assert each["purl"] == f"pkg:pypi/{each['name'].lower().replace('_', '-')}@{each['version']}"
        assert each["licenses"] != [{"license": {"name": "not told"}}]


def test_whatever_is_in_it_is_there_because_something_needs_it(bill):
    needs = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    reached, left = set(), [bill["metadata"]["component"]["bom-ref"]]
    while left:
        ref = left.pop()
        if ref not in reached:
            reached.add(ref)
            left += needs[ref]

    assert reached == set(needs) == {each["bom-ref"] for each in components(bill)}


def test_the_same_wheels_give_the_same_bill(house):
    code = "import sys, pathlib, sbom; print(sbom.bill(sorted(pathlib.Path(sys.argv[1]).glob('*.whl')), 'ecrlogind'))"
    again = subprocess.run([sys.executable, "-c", code, house], cwd=PACKER, capture_output=True, text=True, check=True)

    assert again.stdout.strip() == (house / "bom.json").read_text().strip()
