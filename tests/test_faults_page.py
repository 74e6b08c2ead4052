import runpy
from collections import Counter
from pathlib import Path

from tests.support.rows import IDS, rows

REPO = Path(__file__).parents[1]


def test_every_row_of_the_matrix_has_one_test():
    assert len(IDS) == 95
    assert Counter(row.identifier for row in rows()) == Counter(IDS)


def test_the_page_says_what_the_tests_say():
    made = runpy.run_path(str(REPO / "docs" / "faults.py"))["page"]()

    assert (REPO / "docs" / "faults.md").read_text() == made, "run `python docs/faults.py`"


def test_a_row_is_told_so_that_a_table_can_hold_it():
    for row in rows():
        for text in (row.provoked, row.holds, row.instead):
            assert "|" not in text
            assert "\n" not in text
        assert row.test.rpartition("::")[2].startswith(f"test_{row.identifier.lower().replace('-', '')}_"), row.test
