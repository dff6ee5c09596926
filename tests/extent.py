"""How much a run of the tests takes on."""

from __future__ import annotations

import os

import pytest

ALL = "SLUICE_TEST_ALL"
"""Set this variable, and what a run takes a sample of is run whole."""

is_whole = ALL in os.environ

whole_runs_only = pytest.mark.skipif(
    not is_whole, reason=f"another of its kind is run each time, this one with {ALL}=1"
)
