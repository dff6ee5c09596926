from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.profile import QUANTILES, ColumnProfile, ReferenceProfile
from registry.errors import UserError

values = st.lists(
    st.floats(width=32) | st.sampled_from([0.0, 1.0, float("nan"), float("inf")]), max_size=60
)


@given(values, st.integers(2, 20))
def test_every_value_is_counted_once(numbers: list[float], bins: int) -> None:
    array = np.array(numbers, dtype=np.float64)
    profile = ColumnProfile.of_values("c", array, bins)
    assert profile.rows == len(numbers)
    assert profile.missing == np.count_nonzero(np.isnan(array))
    assert profile.non_finite == np.count_nonzero(np.isinf(array))
    assert sum(profile.counts) == profile.finite
    assert len(profile.counts) == len(profile.edges) + 1
    assert list(profile.edges) == sorted(set(profile.edges))


@given(st.lists(values, min_size=1, max_size=3))
def test_json_round_trip_keeps_hash(columns: list[list[float]]) -> None:
    rows = min(len(column) for column in columns)
    table = pa.table(
        {f"c{i}": pa.array(column[:rows], pa.float64()) for i, column in enumerate(columns)}
    )
    profile = ReferenceProfile.of_table(table)
    again = ReferenceProfile.from_json(profile.to_json())
    assert again == profile
    assert again.hash == profile.hash


def test_bins_hold_the_same_share_each(rng: np.random.Generator) -> None:
    profile = ColumnProfile.of_values("c", rng.gamma(2, 2, 10_000), 10)
    assert profile.counts[0] == 1
    assert profile.counts[-1] == 0
    assert profile.counts[1:-1] == (999,) + (1000,) * 9
    assert len(profile.quantiles) == QUANTILES
    assert profile.quantiles[0] == profile.edges[0]
    assert profile.quantiles[-1] == profile.edges[-1]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.99, 0.999])
def test_a_rare_truth_value_has_a_bin_of_its_own(share: float) -> None:
    profile = ColumnProfile.of_values("c", (np.arange(10_000) < 10_000 * share).astype(float))
    assert [count for count in profile.counts if count] == [
        round(10_000 * (1 - share)),
        round(10_000 * share),
    ]


def test_identity_and_text_are_not_profiled() -> None:
    table = pa.table(
        {"at": [1], "release": [3], "session": ["s"], "error": ["e"], "rms": [0.5], "empty": [True]}
    )
    assert [column.name for column in ReferenceProfile.of_table(table).columns] == ["rms", "empty"]


def test_a_different_table_has_a_different_hash() -> None:
    first, second = (ReferenceProfile.of_table(pa.table({"c": [1.0, last]})) for last in (2.0, 3.0))
    assert first.hash != second.hash


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format":2,"rows":0,"columns":[]}', b"\xff"]
)
def test_what_is_no_profile_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="make the profile again"):
        ReferenceProfile.from_json(content)
