"""Ours against references that others wrote: SciPy's and Evidently's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.spatial import distance  # type: ignore[import-untyped]  # ships no types
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]  # ships no types

from drift.distances import (
    column_distances,
    jensen_shannon,
    missing_distance,
    psi,
    wasserstein,
    wasserstein_from_profile,
)
from drift.profile import ColumnProfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Skewed = Callable[[np.random.Generator, int], NDArray[np.float64]]


def shares(rng: np.random.Generator, bins: int) -> NDArray[np.float64]:
    counts = rng.integers(0, 20, bins) * (rng.random(bins) > 0.2) + np.eye(bins, dtype=int)[0]
    result: NDArray[np.float64] = counts / counts.sum()
    return result


@pytest.mark.parametrize("bins", [1, 2, 12, 40])
def test_jensen_shannon_is_scipys(rng: np.random.Generator, bins: int) -> None:
    for _ in range(50):
        first, second = shares(rng, bins), shares(rng, bins)
        assert jensen_shannon(first, second) == pytest.approx(
            distance.jensenshannon(first, second), abs=1e-7
        )


@pytest.mark.parametrize(("first", "second"), [(1, 1), (7, 3), (500, 500), (2000, 90)])
def test_wasserstein_is_scipys(
    rng: np.random.Generator, skewed: Skewed, first: int, second: int
) -> None:
    ours, theirs = skewed(rng, first).round(1), skewed(rng, second).round(1)
    expected = wasserstein_distance(ours, theirs) / max(ours.std(), 1e-3)
    assert wasserstein(ours, theirs) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_of_very_many_values_a_part_gives_nearly_the_exact_wasserstein(
    rng: np.random.Generator, skewed: Skewed
) -> None:
    ours, theirs = skewed(rng, 150_000), skewed(rng, 120_000) + 0.05
    expected = wasserstein_distance(ours, theirs) / ours.std()
    assert wasserstein(ours, theirs) == pytest.approx(expected, abs=1e-3)


def test_shares_of_missing_values_have_a_distance() -> None:
    expected = distance.jensenshannon([0.1, 0.9], [0.4, 0.6])
    assert missing_distance(0.1, 0.4) == pytest.approx(expected)
    assert missing_distance(0.3, 0.3) == 0


def test_equal_samples_have_no_distance(rng: np.random.Generator, skewed: Skewed) -> None:
    values = skewed(rng, 1000)
    found = column_distances(ColumnProfile.of_values("c", values), values, values)
    assert found is not None
    assert (found.psi, found.jensen_shannon, found.wasserstein) == (0.0, 0.0, 0.0)


def test_a_profile_alone_gives_nearly_the_exact_wasserstein(
    rng: np.random.Generator, skewed: Skewed
) -> None:
    reference, window = skewed(rng, 20_000), skewed(rng, 5_000) + 0.5
    profile = ColumnProfile.of_values("c", reference)
    exact = wasserstein(reference, window)
    assert wasserstein_from_profile(profile, window) == pytest.approx(exact, abs=0.02)


def test_a_side_without_values_has_no_distance() -> None:
    empty, full = np.full(5, np.nan), np.arange(5.0)
    assert column_distances(ColumnProfile.of_values("c", empty), full) is None
    assert column_distances(ColumnProfile.of_values("c", full), empty) is None


def test_a_window_outside_the_references_range_is_far(rng: np.random.Generator) -> None:
    profile = ColumnProfile.of_values("c", rng.random(5000))
    for window in (rng.random(500) + 2, rng.random(500) - 2):
        found = column_distances(profile, window)
        assert found is not None
        assert found.jensen_shannon > 0.8
        assert found.psi > 5


# Evidently and its own dependencies warn while they are imported.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_all_three_are_evidentlys_given_its_bins(rng: np.random.Generator, skewed: Skewed) -> None:
    """Evidently bins reference and window together by Sturges' rule."""
    samples = {
        "shifted": (rng.normal(size=5000), rng.normal(0.3, 1, 3000)),
        "skewed": (skewed(rng, 4000), 1.3 * skewed(rng, 700)),
        "same": (rng.random(2000), rng.random(2000)),
    }
    values = _evidently(samples)
    for name, (reference, window) in samples.items():
        edges = np.histogram_bin_edges(np.concatenate([reference, window]), bins="sturges")
        ours = np.histogram(reference, edges)[0] / len(reference)
        theirs = np.histogram(window, edges)[0] / len(window)
        assert psi(ours, theirs) == pytest.approx(values[name, "psi"], rel=1e-9)
        assert jensen_shannon(ours, theirs) == pytest.approx(
            values[name, "jensenshannon"], rel=1e-9
        )
        assert wasserstein(reference, window) == pytest.approx(
            values[name, "wasserstein"], rel=1e-6
        )


def _evidently(
    samples: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> dict[tuple[str, str], float]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    values: dict[tuple[str, str], float] = {}
    for name, (reference, window) in samples.items():
        definition = DataDefinition(numerical_columns=[name])
        frames: list[Any] = [
            Dataset.from_pandas(pd.DataFrame({name: sample}), data_definition=definition)
            for sample in (window, reference)
        ]
        methods = ("psi", "jensenshannon", "wasserstein")
        snapshot = Report([ValueDrift(column=name, method=method) for method in methods]).run(
            *frames
        )
        for metric in json.loads(snapshot.json())["metrics"]:
            values[name, metric["config"]["method"]] = metric["value"]
    return values
