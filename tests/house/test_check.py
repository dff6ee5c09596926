"""Format, lint, types and layers hold: `make check`, beside the other tests instead of before."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
def test_make_check_finds_nothing(checkout: Path) -> None:
    done = subprocess.run(
        ["/usr/bin/env", "make", "--no-print-directory", "check"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
