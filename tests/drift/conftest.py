"""Tables as a speech service would log them, made from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MakeTable = "Callable[..., pa.Table]"


def twelve_columns(
    rng: np.random.Generator, rows: int, *, sessions: int = 0, shift: float = 0.0
) -> pa.Table:
    """Twelve columns of many shapes, some correlated: normal, heavy-tailed, rare, discrete,
    half missing, constant. `shift` moves the first, in standard deviations. With `sessions`, half
    of the first columns' variance is the session's own."""
    units = rng.integers(0, sessions, rows) if sessions else np.arange(rows)
    own = rng.normal(size=(sessions or rows, 12))[units]
    noise = rng.normal(size=(rows, 12))
    values = (own + noise) / np.sqrt(2) if sessions else noise
    values[:, 1:4] += 0.7 * values[:, :1]
    values[:, 4] = np.exp(2 * values[:, 4])
    values[:, 5] = values[:, 5] > 2
    values[:, 6] = np.round(values[:, 6])
    values[:, 7] = np.where(values[:, 7] > 0, np.nan, values[:, 8])
    values[:, 8] = 16_000
    values[:, 0] += shift
    table = pa.table({f"c{number}": values[:, number] for number in range(12)})
    return table.append_column("session", pa.array([f"s{unit}" for unit in units]))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_261_121)


@pytest.fixture
def table() -> Callable[..., pa.Table]:
    return twelve_columns


@pytest.fixture
def skewed() -> Callable[[np.random.Generator, int], NDArray[np.float64]]:
    return lambda rng, rows: rng.gamma(2.0, 1.5, rows)
