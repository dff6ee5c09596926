"""What `benchmarks.promotions` counts and times, from callers, route writes and the journal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.moving_traffic.callers import ROW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from registry.journal import Entry


@dataclass(frozen=True)
class Written:
    """A route that was written: when the write began and returned, as `time.monotonic()`."""

    began: float
    returned: float
    releases: frozenset[int]
    """Those with a weight."""


def traffic(rows: NDArray[Any], written: Sequence[Written]) -> dict[str, Any]:
    """How many requests there were, failed, and were answered where they should not be."""
    if rows.dtype != ROW:
        raise ValueError(f"not rows of callers: {rows.dtype}")
    took = (rows["ended"] - rows["begun"]) * 1000
    return {
        "requests": len(rows),
        "rest": int((~rows["grpc"]).sum()),
        "grpc": int(rows["grpc"].sum()),
        "failed": int((rows["release"] == 0).sum()),
        "wrong_release": sum(_is_wrong(rows, written)),
        "request_ms_p50": round(float(np.median(took)), 2),
        "request_ms_p99": round(float(np.quantile(took, 0.99)), 2),
        "request_ms_max": round(float(took.max()), 1),
    }


def _is_wrong(rows: NDArray[Any], written: Sequence[Written]) -> Iterator[bool]:
    """For each request that was answered, whether the answer came from where it should not.

    A route may be in force from the beginning of its write to the end of the next one's.
    """
    first = np.searchsorted([one.returned for one in written], rows["begun"]) - 1
    last = np.searchsorted([one.began for one in written], rows["ended"], side="right") - 1
    answered = rows["release"] != 0
    columns = (rows["release"], rows["labelled"], first, last)
    for release, labelled, low, high in zip(
        *(column[answered].tolist() for column in columns), strict=True
    ):
        served = frozenset().union(*(one.releases for one in written[max(low, 0) : high + 1]))
        yield release != labelled or release not in served


@dataclass
class WayBack:
    """A rollback in the journal's own times, seconds since 1970."""

    decided: float
    observed: float | None = None
    """When the evidence was seen; None where a person asked."""
    effect: int = 0
    started: float = 0.0
    confirmed: float = 0.0


def ways_back(entries: Iterable[Entry]) -> Iterator[WayBack]:
    """Each rollback until its route was confirmed."""
    way: WayBack | None = None
    for entry in entries:
        body = entry.body
        if entry.kind == "rollback-requested":
            way = WayBack(entry.at)
        elif entry.kind == "decided" and body["decision"] == "roll-back":
            way = WayBack(entry.at, body["observation"]["at"])
        elif way and entry.kind == "effect-started" and body["name"] == "WriteRoute":
            way.effect, way.started = body["effect"], entry.at
        elif way and entry.kind == "effect-confirmed" and body["effect"] == way.effect:
            way.confirmed = entry.at
            yield way
            way = None


def flips(
    rows: NDArray[Any], written: Sequence[Written], ways: Sequence[WayBack], clock: float
) -> dict[str, float]:
    """Times of the ways back, as the module says, in milliseconds.

    `clock` is what to add to `time.monotonic()` for seconds since 1970.
    """
    flip, last_old = [], []
    for way in ways:
        number = next(
            index
            for index, one in enumerate(written)
            if way.started <= one.began + clock <= way.confirmed
        )
        before, now = written[number - 1], written[number]
        following = written[number + 1].began if number + 1 < len(written) else math.inf
        flip.append(now.returned - now.began)
        old = np.isin(rows["release"], list(before.releases - now.releases))
        late = rows["begun"][old & (rows["begun"] >= now.began) & (rows["begun"] < following)]
        last_old.append(float(late.max()) - now.began if len(late) else 0.0)
    return {
        **_quantiles("flip_ms", flip),
        **_quantiles("last_old_ms", last_old),
        **_quantiles(
            "evidence_to_baseline_ms",
            [way.confirmed - way.observed for way in ways if way.observed is not None],
        ),
        **_quantiles("decision_to_route_ms", [way.confirmed - way.decided for way in ways]),
    }


def _quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 99th of a hundred, in milliseconds; nothing of nothing."""
    if not seconds:
        return {}
    quantiles = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        f"{name}_{short}": round(1000 * float(np.quantile(seconds, part)), 1)
        for short, part in quantiles.items()
    }
