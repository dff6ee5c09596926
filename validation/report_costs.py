"""What a variant costs, as rows for a page: latency, speed, memory, size, and on which machine.

The intervals are those of the checks; here they are given for every figure, asked for or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from validation.cost import cost_in, per_thousand, plain
from validation.order_statistics import Interval, quantile_interval, ratio_interval
from validation.performance import Performance
from validation.report_numbers import UNKNOWN, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from validation.evidence import GateReport

_QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_LATENCIES = {"p50_ms": "Latency, median", "p95_ms": "95th percentile", "p99_ms": "99th percentile"}
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class CostRow:
    """One figure as text; `budget` is empty where none was set."""

    label: str
    value: str
    interval: str
    budget: str = ""
    verdict: str = ""


def cost_rows(report: GateReport) -> tuple[CostRow, ...]:
    """Every figure of the report's performance, the machine last; none without a measurement."""
    if report.performance is None:
        return ()
    measured = Performance.from_dict(report.performance)
    tail = (1 - float(report.provenance.get("confidence", _CONFIDENCE))) / 2
    checks = {check.name: check for check in report.checks}
    rows = []
    for name, label, unit, found in _figures(measured, tail):
        if not math.isfinite(found.value):
            continue
        check = checks.get(name)
        rows.append(
            CostRow(
                label,
                quantity(found.value, unit),
                _interval(found, unit),
                quantity(check.limit, unit) if check else "",
                check.verdict.label if check else "",
            )
        )
    rows += _money(report)
    facts = {**measured.hardware, **measured.serve}
    return (*rows, *(CostRow(key.replace("_", " "), str(facts[key]), "") for key in sorted(facts)))


def _money(report: GateReport) -> list[CostRow]:
    """Rows of a report that was made with a price."""
    cost = cost_in(report)
    if cost is None:
        return []
    found = {
        "Cost of 1,000 requests": per_thousand(cost),
        "Cost of an audio minute": cost.audio_minute,
    }
    currency = cost.price.currency
    rows = [
        CostRow(label, f"{plain(one.value)} {currency}", _money_interval(one, currency))
        for label, one in found.items()
        if one is not None
    ]
    price = f"{cost.price.hourly:g} {currency}, batches full, no hour idle"
    return [*rows, CostRow(f"Price of an hour of {cost.price.name}", price, "")]


def _money_interval(found: Interval, currency: str) -> str:
    if found.low > 0 and math.isfinite(found.high):
        return f"{plain(found.low)} to {plain(found.high)} {currency}"
    return UNKNOWN


def _figures(measured: Performance, tail: float) -> Iterator[tuple[str, str, str, Interval]]:
    """Name of the budget, label, unit, estimate."""
    for name, label in _LATENCIES.items():
        yield name, label, "ms", quantile_interval(measured.latencies_ms, _QUANTILES[name], tail)
    if sum(measured.audio_s):
        seconds = np.asarray(measured.latencies_ms) / 1000
        speed = ratio_interval(seconds, np.asarray(measured.audio_s), tail)
        yield "rtf", "Real-time factor", "ratio", speed
    throughput = quantile_interval(measured.throughput_rps, 0.5, tail)
    yield "throughput_rps", "Throughput, batches full", "per second", throughput
    for name, label, unit, value in (
        ("load_s", "Load time", "s", measured.load_s),
        ("memory_mb", "Peak memory", "bytes", measured.peak_memory_bytes),
        ("size_mb", "Size on disk", "bytes", measured.size_bytes),
    ):
        yield name, label, unit, Interval(value, -math.inf, math.inf)


def _interval(found: Interval, unit: str) -> str:
    low, high = (quantity(end, unit) for end in (found.low, found.high))
    match (math.isfinite(found.low), math.isfinite(found.high)):
        case (True, True):
            return f"{low} to {high}"
        case (True, False):
            return f"{low} or more"
        case (False, True):
            return f"{high} or less"
        case _:
            return UNKNOWN
