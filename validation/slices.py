"""Slices: the whole set, and every value of the columns that the policy names.

A regression that the mean hides is often all in one slice: the noisy half, one accent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from registry.errors import UserError
from validation.bootstrap import cluster_codes

if TYPE_CHECKING:
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
    """The whole set, then every value of every slice column, each column's in sorted order.

    Raises UserError when an utterance lacks a column that the policy names.
    """
    clusters = _column(dataset, policy.cluster)
    every = np.arange(len(clusters), dtype=np.intp)
    slices = [Slice(WHOLE, every, cluster_codes(clusters))]
    for column in policy.slices:
        values = _column(dataset, column)
        for value in sorted(set(values)):
            members = np.flatnonzero([found == value for found in values]).astype(np.intp)
            codes = cluster_codes([clusters[member] for member in members])
            slices.append(Slice(f"{column}={value}", members, codes))
    return tuple(slices)


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
