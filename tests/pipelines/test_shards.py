"""How a set is cut into parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.task_runners import contiguous


@given(st.integers(1, 300), st.integers(1, 64))
def test_parts_are_contiguous_even_and_lose_nothing(count: int, shards: int) -> None:
    items = list(range(count))
    parts = contiguous(items, shards)
    assert [one for part in parts for one in part] == items
    lengths = {len(part) for part in parts}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
    assert len(parts) == min(count, shards)
