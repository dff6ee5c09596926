"""Which requests a person should label: the worst by their signals, and a fair draw of the rest.

The worst show what goes wrong; the draw says how often. Both are one sample with known weights: the
worst are a stratum that is taken whole, the others are drawn at random within strata, and a
request's weight is how many requests it stands for (Horvitz and Thompson, JASA 1952). So a mean
over the labels, each times its weight, over the sum of the weights, is that of all requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from drift.columns import values_of
from registry.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORST_SHARE = 0.25
"""Of the sample, at most, taken for their signals."""
LEAST_A_STRATUM = 2
"""Of one alone, nobody knows how much a stratum varies."""
_BAD = ("empty", "looping", "fallback")
_WORDS = {"empty": "empty answer", "looping": "looping answer", "fallback": "answer cut short"}
_LEVELS = (("release", "hour", "kind"), ("release", "kind"), ("release",), ())
"""What strata are made of, as fine as the sample's size allows. `kind` is language or script."""
_UNKNOWN = "unknown"
_UNSURE_SHARE = 0.05
"""Of all requests, the least sure ones that count as bad by their log-probability."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One request of the sample."""

    row: int
    """In the table that was sampled."""
    why: str
    weight: float
    """How many requests it stands for; 1 for the worst, which stand for themselves."""
    stratum: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The requests to label, in the table's order."""

    chosen: tuple[Chosen, ...]
    strata: tuple[str, ...]
    """What the strata of the draw are made of."""
    requests: int
    """Of how many they were taken."""


def draw_sample(records: pa.Table, size: int, seed: int) -> Sample:
    """Choose `size` requests, or all where there are no more; the same seed chooses the same.

    `records` are those of a log; requests that were refused (`error`) have nothing to label and
    are left out. Raises UserError for a size under 1 and when nothing is left.
    """
    if size < 1:
        raise UserError(f"a sample of {size} requests", remedy="ask for at least 1")
    rows = _answered(records)
    if not len(rows):
        raise UserError("no answered request is in the window", remedy="look further back")
    draw = np.random.default_rng(seed)
    worst = _worst(records, rows, int(size * WORST_SHARE))
    rest = rows[~np.isin(rows, list(worst))]
    size = min(size, len(rows)) - len(worst)
    level, strata = _strata(records, rest, size)
    chosen = [Chosen(row, why, 1.0, "worst") for row, why in worst.items()]
    for (name, members), take in zip(strata, _allocated(strata, size), strict=True):
        drawn = draw.choice(members, take, replace=False) if take else ()
        weight = len(members) / max(1, take)
        chosen += [Chosen(int(row), "drawn at random", weight, name) for row in drawn]
    ordered = sorted(chosen, key=lambda one: one.row)
    return Sample(tuple(ordered), level, len(rows))


def _answered(records: pa.Table) -> NDArray[np.int64]:
    """Rows of requests that have a name and an answer."""
    wanted = pc.is_valid(records.column("request"))
    if "error" in records.column_names:
        wanted = pc.and_(wanted, pc.is_null(records.column("error")))
    return np.flatnonzero(wanted.to_numpy(zero_copy_only=False)).astype(np.int64)


def _worst(records: pa.Table, rows: NDArray[np.int64], most: int) -> dict[int, str]:
    """Up to `most` rows that their signals speak against, and why: most signals first."""
    flags = {
        name: np.nan_to_num(values_of(records, name))[rows] > 0
        for name in _BAD
        if name in records.column_names
    }
    sure = np.full(len(rows), np.nan)
    if "average_log_probability" in records.column_names:
        sure = values_of(records, "average_log_probability")[rows]
    known = np.isfinite(sure)
    floor = float(np.quantile(sure[known], _UNSURE_SHARE)) if known.any() else -np.inf
    unsure = known & (sure <= floor)
    count = np.sum([*flags.values(), np.zeros(len(rows))], axis=0)
    order = np.lexsort((rows, np.where(known, sure, np.inf), -count))
    bad = order[(count > 0)[order] | unsure[order]][:most]
    return {
        int(rows[place]): "; ".join(
            [
                *(_WORDS[name] for name, flag in flags.items() if flag[place]),
                *([f"log-probability {sure[place]:.2f}"] if unsure[place] else []),
            ]
        )
        for place in bad
    }


_Stratum = tuple[str, "NDArray[np.int64]"]


def _strata(
    records: pa.Table, rows: NDArray[np.int64], size: int
) -> tuple[tuple[str, ...], list[_Stratum]]:
    """The finest strata of which the sample can take two each, and their rows."""
    used = {"at", "release", "language", "script"} & set(records.column_names)
    chosen = records.select(sorted(used)).take(rows)
    keys = {
        "release": _texts(chosen, "release"),
        "hour": _hours(chosen.column("at")),
        "kind": _kinds(chosen),
    }
    for level in _LEVELS:
        if not level:
            return level, [("", rows)]
        named = pc.binary_join_element_wise(*(keys[name] for name in level), " ")
        found = named.combine_chunks().dictionary_encode()
        if len(found.dictionary) * LEAST_A_STRATUM <= size:
            break
    codes, names = found.indices.to_numpy(), found.dictionary.to_pylist()
    return level, [(names[code], rows[codes == code]) for code in np.argsort(names)]


def _hours(at: pa.ChunkedArray) -> pa.ChunkedArray:
    """`2026-11-21T03` in UTC; each hour is put into words once."""
    hours = pc.floor_temporal(at, unit="hour").combine_chunks().dictionary_encode()
    return pa.chunked_array([pc.strftime(hours.dictionary, "%Y-%m-%dT%H").take(hours.indices)])


def _kinds(records: pa.Table) -> pa.ChunkedArray:
    """Each row's language, else its script."""
    languages = _texts(records, "language")
    unknown = pc.equal(languages, _UNKNOWN)
    return pc.if_else(unknown, _texts(records, "script"), languages)


def _texts(records: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in records.column_names:
        return pa.chunked_array([pa.array([_UNKNOWN] * records.num_rows, pa.string())])
    values = pc.fill_null(records.column(name).cast(pa.string()), _UNKNOWN)
    return pc.if_else(pc.equal(values, ""), _UNKNOWN, values)


def _allocated(strata: Sequence[_Stratum], size: int) -> list[int]:
    """How many to take of each: by size, at least two where there are, `size` in all."""
    sizes = np.array([len(members) for _, members in strata], dtype=np.int64)
    total = int(sizes.sum())
    if size >= total:
        return [int(one) for one in sizes]
    least = np.minimum(sizes, LEAST_A_STRATUM if LEAST_A_STRATUM * len(sizes) <= size else 0)
    left = size - int(least.sum())
    room = sizes - least
    shares = room * (left / max(1, int(room.sum())))
    taken = least + np.floor(shares).astype(np.int64)
    # What rounding down left over goes to the largest remainders.
    order = np.argsort(-(shares - np.floor(shares)), kind="stable")
    for place in order[: size - int(taken.sum())]:
        taken[place] += 1
    return [int(one) for one in taken]
