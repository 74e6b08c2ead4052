"""The mutations still fit the program, so that `make mutants` says something."""

import re
from pathlib import Path

import pytest

from tests.mutants import ROOT, mutations

ALL = mutations()


def test_there_are_thirty_at_least_and_each_has_a_name_of_its_own():
    assert len({each.name for each in ALL}) == len(ALL) >= 30


@pytest.mark.parametrize("mutation", ALL, ids=lambda each: each.name)
def test_a_mutation_fits_the_program_and_breaks_it_only_where_it_says(mutation):
    whole = (ROOT / mutation.file).read_text()

    assert mutation.applied_to(whole) != whole


@pytest.mark.parametrize("test", sorted({test for each in ALL for test in each.killed_by}))
def test_who_is_to_notice_is_there(test):
    path, _, name = test.partition("::")
    found = ROOT / path

    assert found.is_dir() or not name or re.search(rf"^def {name}\(", Path(found).read_text(), re.MULTILINE)
