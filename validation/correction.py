"""Correction of p-values for the number of claims that are made with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979, step-down Bonferroni).

    Rejecting what is adjusted to at most alpha makes one false rejection or more with a chance of
    at most alpha, however the tests depend on each other.
    """
    order = sorted(range(len(p_values)), key=lambda row: p_values[row])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, row in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[row]))
        adjusted[row] = largest
    return adjusted
