"""A private revision keeps a prediction log of its own, of what is to be recorded and no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from drift.records import read_records
from infra.inference import score
from infra.local.private_revision import PrivateRevision

from .toys import INTERFACE, lay_out

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine


def test_only_what_is_to_be_recorded_is_in_the_log(tmp_path: Path) -> None:
    root, log = tmp_path / "repository", tmp_path / "predictions"
    lay_out(root, "toy", 1, recorded=True)
    asked = [(f"u{number}", np.array([5.0], np.float32)) for number in range(40)]
    others = [(f"other {number}", np.array([5.0], np.float32)) for number in range(5)]
    with PrivateRevision(root, "toy", log=tmp_path / "log", predictions=log) as revision:
        score(revision.grpc_address, "toy", INTERFACE, others)
        score(revision.grpc_address, "toy", INTERFACE, asked, recorded=True)
        deadline = time.monotonic() + 5
        names: list[str] = []
        while len(names) < len(asked) and time.monotonic() < deadline:
            time.sleep(0.05)
            table = read_records(log, "toy", since=0.0, until=4e9).table
            names = table.column("request").to_pylist()
    assert sorted(names) == sorted(name for name, _ in asked)
    assert not any(table.column("shadow").to_pylist())
