from collections import Counter

from docs import faults
from tests.support.rows import IDS, rows


def test_every_row_of_the_matrix_has_one_test():
    assert len(IDS) == 95
    assert Counter(row.identifier for row in rows()) == Counter(IDS)


def test_the_page_says_what_the_tests_say():
    assert faults.PAGE.read_text() == faults.page(), "run `make pages`"


def test_a_row_is_told_so_that_a_table_can_hold_it():
    for row in rows():
        for text in (row.provoked, row.holds, row.instead):
            assert "|" not in text
            assert "\n" not in text
        assert row.test.rpartition("::")[2].startswith(f"test_{row.identifier.lower().replace('-', '')}_"), row.test
