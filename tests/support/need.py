"""What a test needs and this machine may lack."""

import os

import pytest


def need(condition, what):
    """Skip the test, saying *what* is missing; with CI=true a missing prerequisite fails instead."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing: {what}")
        pytest.skip(f"missing: {what}")
