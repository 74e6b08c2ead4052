"""All rows over and over, in a random order: what fails now and then shows here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 20


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_twenty_rounds_in_random_order_have_no_flake():
    here = Path(__file__).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    for number in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "not long", "--numprocesses", "2", here],
            cwd=here.parents[1],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        told = re.search(r"\d+ of \d+ rows were provoked and held", done.stdout)
        seed = re.search(r"--randomly-seed=(\d+)", done.stdout)
        print(f"round {number + 1}, seed {seed and seed[1]}: {told and told[0]}")  # noqa: T201  # the issue asks to see it
        assert done.returncode == 0, done.stdout[-20_000:]
