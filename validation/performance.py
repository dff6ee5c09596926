"""How fast and how large a served variant is, measured, and whether that keeps its budgets.

Nothing here measures, and what was not measured is an error, never a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from registry.errors import UserError
from validation.evidence import Check, rounded
from validation.order_statistics import (
    FEWEST_FOR_RATIO,
    chance_of_at_least,
    quantile_interval,
    ratio_interval,
    requests_needed,
)
from validation.slices import WHOLE
from validation.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from validation.order_statistics import Interval

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
UNITS = {
    "p50_ms": "ms",
    "p95_ms": "ms",
    "p99_ms": "ms",
    "rtf": "ratio",
    "throughput_rps": "per second",
    "size_mb": "bytes",
    "memory_mb": "bytes",
    "load_s": "s",
}
"""Of a check's numbers, by the budget's name."""
_MEGABYTE = 1e6
_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


class Budgets(BaseModel):
    """`[gate.budgets]`: what a variant may cost on the machine that gates it. All are optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    p50_ms: Positive | None = None
    """Largest median latency of a request that is alone on the server, in milliseconds."""
    p95_ms: Positive | None = None
    """Largest 95th percentile of the same."""
    p99_ms: Positive | None = None
    """Largest 99th percentile of the same."""
    rtf: Positive | None = None
    """Largest real-time factor: seconds of computing for a second of audio. Below 1 keeps up."""
    throughput_rps: Positive | None = None
    """Least answers a second with the server's batches full."""
    size_mb: Positive | None = None
    """Largest sum of the variant's files, in 10^6 bytes."""
    memory_mb: Positive | None = None
    """Largest memory of the server's processes at their peak, in 10^6 bytes."""
    load_s: Positive | None = None
    """Longest time from start to ready, in seconds."""

    def named(self) -> dict[str, float]:
        """Only the budgets that were set, by name."""
        return {name: budget for name, budget in self if budget is not None}


@dataclass(frozen=True, slots=True)
class Performance:
    """What one private revision did on one machine.

    `latencies_ms` are of requests asked one at a time, each with its seconds of audio in `audio_s`
    (0 for a text). `throughput_rps` are answers a second, one number for each round with the
    batches full. `load_s` is the time from start to ready, once. `peak_memory_bytes` adds up the
    largest resident memory of each process, so pages that they share count more than once.
    `size_bytes` is that of the variant's files. `hardware` and `serve` say on what, and how served.
    """

    latencies_ms: tuple[float, ...]
    audio_s: tuple[float, ...]
    throughput_rps: tuple[float, ...]
    load_s: float
    peak_memory_bytes: int
    size_bytes: int
    hardware: Mapping[str, Any] = field(default_factory=dict)
    serve: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rtf(self) -> float:
        """Seconds of computing for a second of audio (the real-time factor); NaN without audio."""
        audio = sum(self.audio_s)
        return sum(self.latencies_ms) / 1000 / audio if audio else math.nan

    def latency_ms(self, share: float) -> float:
        """The least latency that at least `share` (0 to 1) of the requests kept to."""
        ordered = sorted(self.latencies_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

    def summary(self) -> dict[str, float]:
        """The figures for people, those that could be measured; `audio_s_per_s` is 1 / RTF."""
        figures = {
            **{name: self.latency_ms(share) for name, share in _QUANTILES.items()},
            "rtf": self.rtf,
            "audio_s_per_s": 1 / self.rtf if self.rtf else math.nan,
            "throughput_rps": _median(self.throughput_rps),
            "load_s": self.load_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            "size_bytes": self.size_bytes,
        }
        return {name: rounded(figure) for name, figure in figures.items() if math.isfinite(figure)}

    def to_dict(self) -> dict[str, Any]:
        """Only what JSON has; `summary` is there for readers and is not read back."""
        return {
            "latencies_ms": list(self.latencies_ms),
            "audio_s": list(self.audio_s),
            "throughput_rps": list(self.throughput_rps),
            "load_s": self.load_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            "size_bytes": self.size_bytes,
            "hardware": dict(self.hardware),
            "serve": dict(self.serve),
            "summary": self.summary(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Performance:
        """The inverse of `to_dict`. Raises UserError when the document is no measurement."""
        values = {name: value for name, value in document.items() if name != "summary"}
        try:
            for name in ("latencies_ms", "audio_s", "throughput_rps"):
                values[name] = tuple(float(number) for number in values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"not a measurement of performance: {error}") from error


def performance_checks(
    budgets: Budgets, performance: Performance | None, confidence: float
) -> Iterator[Check]:
    """One check for each budget that was set.

    Latencies, the real-time factor and throughput pass or fail by the two-sided interval of level
    `confidence`; too few requests for an end of it are inconclusive, with the number needed. Size,
    memory and load time are one measurement each and are compared as they are. A budget without a
    measurement is an error.
    """
    tail = (1 - confidence) / 2
    for name, budget in budgets.named().items():
        if performance is None:
            yield _error(name, "a budget is set and nothing was measured")
        elif name in _QUANTILES:
            yield _latency_check(name, performance.latencies_ms, budget, tail)
        elif name == "rtf":
            yield _rtf_check(performance, budget, tail)
        elif name == "throughput_rps":
            yield _throughput_check(performance.throughput_rps, budget, tail)
        else:
            yield _exact_check(name, performance, budget)


def _latency_check(name: str, latencies: Sequence[float], budget: float, tail: float) -> Check:
    if not latencies:
        return _error(name, "no request was timed")
    share = _QUANTILES[name]
    found = quantile_interval(latencies, share, tail)
    needed = requests_needed(share, tail)
    few = f"{len(latencies)} requests are too few to bound it, it needs {needed}"
    return _judged(
        name,
        found,
        budget,
        text=lambda ms: f"{ms:.3g} ms",
        unbounded=few,
        p_value=chance_of_at_least(sum(ms <= budget for ms in latencies), len(latencies), share),
    )


def _rtf_check(performance: Performance, budget: float, tail: float) -> Check:
    if not sum(performance.audio_s):
        return _error("rtf", "the timed requests hold no audio")
    found = ratio_interval(
        np.asarray(performance.latencies_ms) / 1000, np.asarray(performance.audio_s), tail
    )
    few = f"{len(performance.audio_s)} requests are too few, it needs {FEWEST_FOR_RATIO}"
    return _judged("rtf", found, budget, text=lambda rtf: f"{rtf:.3g}", unbounded=few)


def _throughput_check(rounds: Sequence[float], budget: float, tail: float) -> Check:
    if not rounds:
        return _error("throughput_rps", "no round was timed")
    found = quantile_interval(rounds, 0.5, tail)
    few = f"{len(rounds)} rounds are too few, it needs {requests_needed(0.5, tail)}"
    return _judged(
        "throughput_rps",
        found,
        budget,
        text=lambda rps: f"{rps:.4g} a second",
        unbounded=few,
        p_value=chance_of_at_least(sum(rps >= budget for rps in rounds), len(rounds), 0.5),
        higher_is_better=True,
    )


def _exact_check(name: str, performance: Performance, budget: float) -> Check:
    """A budget of what is counted, or timed once."""
    value, limit, text = {
        "size_mb": (performance.size_bytes, budget * _MEGABYTE, _megabytes),
        "memory_mb": (performance.peak_memory_bytes, budget * _MEGABYTE, _megabytes),
        "load_s": (performance.load_s, budget, lambda seconds: f"{seconds:.3g} s"),
    }[name]
    kept = value <= limit
    relation = "within" if kept else "beyond"
    return _check(
        name,
        Verdict.PASS if kept else Verdict.FAIL,
        f"{text(value)}, {relation} the budget {text(limit)}",
        value=rounded(value),
        limit=rounded(limit),
    )


def _judged(
    name: str,
    found: Interval,
    budget: float,
    *,
    text: Callable[[float], str],
    unbounded: str,
    p_value: float | None = None,
    higher_is_better: bool = False,
) -> Check:
    """Judge by the interval's end that is worse, then by the better one."""
    sign = -1 if higher_is_better else 1
    worse, better = (found.low, found.high) if higher_is_better else (found.high, found.low)
    most, least = ("least", "most") if higher_is_better else ("most", "least")
    bound = f"the budget {text(budget)}"
    if sign * worse <= sign * budget:
        verdict, reason = Verdict.PASS, f"at {most} {text(worse)}, within {bound}"
    elif sign * better > sign * budget:
        verdict, reason = Verdict.FAIL, f"at {least} {text(better)}, beyond {bound}"
    elif math.isinf(worse):
        verdict = Verdict.INCONCLUSIVE
        reason = f"{text(found.value)} measured against {bound}, but {unbounded}"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"{text(found.low)} to {text(found.high)} holds {bound}"
    return _check(
        name,
        verdict,
        reason,
        value=rounded(found.value),
        low=_finite(found.low),
        high=_finite(found.high),
        limit=budget,
        p_value=None if p_value is None else rounded(p_value),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


def _finite(number: float) -> float | None:
    return rounded(number) if math.isfinite(number) else None


def _megabytes(count: float) -> str:
    return f"{count / _MEGABYTE:.4g} MB"


def _error(name: str, reason: str) -> Check:
    return _check(name, Verdict.ERROR, reason)


def _check(name: str, verdict: Verdict, reason: str, **numbers: Any) -> Check:
    return Check(
        name,
        WHOLE,
        verdict,
        f"{name} [{WHOLE}]: {reason}",
        metric=name,
        better="higher" if name == "throughput_rps" else "lower",
        unit=UNITS[name],
        **numbers,
    )
