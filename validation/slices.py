"""Slices: the whole set, every value of the columns that the policy names, and its buckets.

A regression that the mean hides is often all in one slice: the noisy half, one accent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import UserError
from validation.bootstrap import cluster_codes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from validation.dataset import Dataset
    from validation.policy import GatePolicy

WHOLE = "all"
"""The slice that holds every utterance."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some utterances of the set: their positions and the cluster of each, both intp [members].

    Clusters are numbered from 0 within the slice.
    """

    name: str
    members: NDArray[np.intp]
    clusters: NDArray[np.intp]

    @property
    def cluster_count(self) -> int:
        """Clusters that have an utterance in the slice."""
        return int(self.clusters.max()) + 1 if self.clusters.size else 0

    def only(self, kept: NDArray[np.bool_]) -> Slice:
        """The slice without the members where `kept`, bool [utterances of the set], is false."""
        mask = kept[self.members]
        _, clusters = np.unique(self.clusters[mask], return_inverse=True)
        return Slice(self.name, self.members[mask], clusters.astype(np.intp))


def whole(dataset: Dataset) -> Slice:
    """Every utterance, each its own cluster."""
    every = np.arange(len(dataset.utterances), dtype=np.intp)
    return Slice(WHOLE, every, every)


def slices_of(policy: GatePolicy, dataset: Dataset) -> tuple[Slice, ...]:
    """The whole set, then every value of every slice column, sorted, then the buckets by number.

    A bucket without an utterance is no slice. Raises UserError when an utterance lacks a column
    that the policy names, or a bucket's column is no number.
    """
    clusters = _column(dataset, policy.cluster)
    every = np.arange(len(clusters), dtype=np.intp)
    slices = [Slice(WHOLE, every, cluster_codes(clusters))]
    for column in policy.slices:
        values = _column(dataset, column)
        slices += _split(column, values, sorted(set(values)), clusters)
    for column, borders in policy.buckets.items():
        names = _bucket_names(borders)
        places = np.digitize(_numbers(dataset, column), borders).tolist()
        values = [names[place] for place in places]
        slices += _split(column, values, [name for name in names if name in values], clusters)
    return tuple(slices)


def absent_slices(policy: GatePolicy, slices: Sequence[Slice]) -> tuple[str, ...]:
    """Slices that the policy has margins for and that have no utterance, sorted."""
    present = {part.name for part in slices}
    return tuple(
        sorted(name for name in policy.slice_margins.own if "=" in name and name not in present)
    )


def _split(
    column: str, values: Sequence[str], names: Sequence[str], clusters: Sequence[str]
) -> Iterator[Slice]:
    for name in names:
        members = np.flatnonzero([found == name for found in values]).astype(np.intp)
        codes = cluster_codes([clusters[member] for member in members.tolist()])
        yield Slice(f"{column}={name}", members, codes)


def _bucket_names(borders: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(borders)]
    return [f"under {borders[0]:g}", *inner, f"{borders[-1]:g} and more"]


def _numbers(dataset: Dataset, column: str) -> list[float]:
    if column == "duration_s":
        return [utterance.duration_s for utterance in dataset.utterances]
    if column == "words":
        return [float(len(utterance.text.split())) for utterance in dataset.utterances]
    numbers = []
    for utterance, value in zip(dataset.utterances, _column(dataset, column), strict=True):
        try:
            numbers.append(float(value))
        except ValueError as error:
            raise UserError(
                f"{column} of utterance {utterance.id!r} is {value!r}, no number for a bucket",
                where=dataset.name,
                remedy="name it in slices instead of buckets",
            ) from error
    return numbers


def _column(dataset: Dataset, column: str) -> list[str]:
    if column == "id":
        return [utterance.id for utterance in dataset.utterances]
    for utterance in dataset.utterances:
        if column not in utterance.columns:
            raise UserError(
                f"utterance {utterance.id!r} has no column {column!r}, which the gate's policy "
                "names",
                where=dataset.name,
                remedy=f"columns are {', '.join(sorted(utterance.columns))}",
            )
    return [utterance.columns[column] for utterance in dataset.utterances]
