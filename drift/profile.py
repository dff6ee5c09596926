"""What a reference looked like, small enough to keep with a release: no record is in it.

A profile serves the distances and the report. The alarm needs the reference's records
themselves, because its thresholds come from them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drift.binning import ordered_bin_counts, quantile_edges
from drift.columns import monitored_columns, values_of
from registry.errors import UserError
from registry.files import canonical_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

DEFAULT_BINS = 10
QUANTILES = 101
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one column: finite ones sorted, float64 [finite], and how many rows had none.

    Sorted once, because quantiles, counts and distances all need it.
    """

    ordered: NDArray[np.float64]
    rows: int
    missing: int
    """Null or NaN."""

    @classmethod
    def of_values(cls, values: NDArray[np.float64]) -> Sample:
        """Sort float64 [rows], in which NaN is missing."""
        ordered = np.sort(values)  # NaN last, infinities at the ends
        first = np.searchsorted(ordered, -np.inf, side="right")
        last = np.searchsorted(ordered, np.inf, side="left")
        seen = int(np.searchsorted(ordered, np.inf, side="right"))
        return cls(ordered[first:last], len(values), len(values) - seen)

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of a reference. Statistics are over finite values; 0 where there are none."""

    name: str
    rows: int
    missing: int
    """Null or NaN."""
    non_finite: int
    """Plus or minus infinity."""
    mean: float
    deviation: float
    """Population standard deviation (divided by n)."""
    quantiles: tuple[float, ...]
    """QUANTILES values at even shares from 0 (minimum) to 1 (maximum); empty without values."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """Values in each of the len(edges) + 1 bins of `binning.bin_codes`."""

    @property
    def finite(self) -> int:
        """How many values are numbers."""
        return self.rows - self.missing - self.non_finite

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, 0 to 1; 0 for an empty reference."""
        return self.missing / self.rows if self.rows else 0.0

    @classmethod
    def of_values(
        cls, name: str, values: NDArray[np.float64], bins: int = DEFAULT_BINS
    ) -> ColumnProfile:
        """Profile float64 [rows], in which NaN is missing."""
        return cls.of_sample(name, Sample.of_values(values), bins)

    @classmethod
    def of_sample(cls, name: str, sample: Sample, bins: int = DEFAULT_BINS) -> ColumnProfile:
        """Profile values that are sorted already."""
        ordered = sample.ordered
        edges = quantile_edges(ordered, bins)
        return cls(
            name=name,
            rows=sample.rows,
            missing=sample.missing,
            non_finite=sample.rows - sample.missing - len(ordered),
            mean=float(ordered.mean()) if len(ordered) else 0.0,
            deviation=float(ordered.std()) if len(ordered) else 0.0,
            quantiles=_quantiles(ordered),
            edges=tuple(edges.tolist()),
            counts=tuple(ordered_bin_counts(ordered, edges).tolist()),
        )


@dataclass(frozen=True, slots=True)
class ReferenceProfile:
    """Profiles of a reference's columns, in the table's order."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    @classmethod
    def of_table(
        cls, table: pa.Table, columns: Sequence[str] | None = None, bins: int = DEFAULT_BINS
    ) -> ReferenceProfile:
        """Profile the columns named, else every monitored one. Raises KeyError for an absent."""
        names = monitored_columns(table.schema) if columns is None else columns
        profiles = (ColumnProfile.of_values(name, values_of(table, name), bins) for name in names)
        return cls(table.num_rows, tuple(profiles))

    def column(self, name: str) -> ColumnProfile | None:
        """The profile of `name`, or None when the reference does not have that column."""
        return next((column for column in self.columns if column.name == name), None)

    def to_json(self) -> bytes:
        """Canonical JSON: the same profile is always the same bytes."""
        return canonical_json({"format": _FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, content: bytes) -> ReferenceProfile:
        """Read what `to_json` wrote. Raises UserError when it is not a profile."""
        try:
            body = json.loads(content)
            version = body.pop("format")
            columns = tuple(_column(entry) for entry in body.pop("columns"))
            profile = cls(columns=columns, **body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _no_profile(str(error)) from error
        if version != _FORMAT:
            raise _no_profile(f"format {version!r}")
        return profile

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, 64 hex characters."""
        return hashlib.sha256(self.to_json()).hexdigest()


def _no_profile(reason: str) -> UserError:
    return UserError(
        f"not a reference profile of format {_FORMAT}: {reason}",
        remedy="make the profile again from the prediction log",
    )


def _quantiles(ordered: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(ordered):
        return ()
    ranks = np.linspace(0, len(ordered) - 1, QUANTILES).round().astype(np.int64)
    return tuple(ordered[ranks].tolist())


def _column(entry: dict[str, Any]) -> ColumnProfile:
    lists = {key: tuple(entry[key]) for key in ("quantiles", "edges", "counts")}
    return ColumnProfile(**{**entry, **lists})
