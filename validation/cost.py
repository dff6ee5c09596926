"""What answers cost: an hour's price over the throughput that a gate measured with full batches.

It is the least that serving costs: a machine that waits costs the same hour. Intervals are those
of the measured throughput; a price has none. Nothing here knows prices.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from validation.order_statistics import Interval, quantile_interval
from validation.performance import Performance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from validation.evidence import GateReport

PRICE = "price"
"""Where a report's provenance holds the price that it was made with."""
_HOUR_S = 3600.0
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Price:
    """An hour of the device or pool `name`, in `currency` (ISO 4217)."""

    name: str
    hourly: float
    currency: str

    def to_json(self) -> dict[str, Any]:
        """Only what JSON has."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cost:
    """In the price's currency. An end that the measured rounds cannot bound is infinite or 0."""

    price: Price
    rps: Interval
    """Answers a second."""
    request: Interval
    audio_minute: Interval | None
    """None where requests hold no sound."""


def cost_of(performance: Performance, price: Price, *, tail: float = 0.025) -> Cost | None:
    """None where no throughput was measured.

    A request costs `hourly / 3600 / rps`; an audio minute as many requests as make one, by the
    mean length of those that were timed.
    """
    if not any(rps > 0 for rps in performance.throughput_rps):
        return None
    rps = quantile_interval(performance.throughput_rps, 0.5, tail)
    request = _over(price.hourly / _HOUR_S, rps)
    seconds = float(np.mean(performance.audio_s)) if performance.audio_s else 0.0
    minute = _scaled(request, 60 / seconds) if seconds else None
    return Cost(price, rps, request, minute)


def cost_in(report: GateReport) -> Cost | None:
    """Of a report that was made with a price; None without one, or without a measurement."""
    price = report.provenance.get(PRICE)
    if price is None or report.performance is None:
        return None
    tail = (1 - float(report.provenance.get("confidence", _CONFIDENCE))) / 2
    return cost_of(Performance.from_dict(report.performance), Price(**price), tail=tail)


def cost_words(cost: Cost) -> tuple[str, ...]:
    """One line for 1,000 requests, one for an audio minute where there is sound."""
    lines = [f"1,000 requests: {amount(_scaled(cost.request, 1000), cost.price.currency)}"]
    if cost.audio_minute is not None:
        lines.append(f"an audio minute: {amount(cost.audio_minute, cost.price.currency)}")
    on = f"{cost.price.name} at {cost.price.hourly:g} {cost.price.currency} an hour"
    return (*lines, f"on {on}, batches full, no hour idle")


def amount(found: Interval, currency: str) -> str:
    """A sum of money with its interval."""
    ends = found.low > 0 and math.isfinite(found.high)
    between = f" ({plain(found.low)} to {plain(found.high)})" if ends else ""
    return f"{plain(found.value)} {currency}{between}"


def plain(number: float) -> str:
    """Three digits, and no power of ten: nobody reads a price as 3.9e-05."""
    return format(Decimal(f"{number:.3g}"), "f")


def per_thousand(cost: Cost) -> Interval:
    """Of 1,000 requests."""
    return _scaled(cost.request, 1000)


def machines_for(target_rps: float, rps: float) -> int:
    """Machines that answer `target_rps` a second, each at most `rps`."""
    return math.ceil(round(target_rps / rps, 9))


def break_even_rps(cost: Cost, hourly: float) -> float:
    """Answers a second from which on a device at `hourly` is cheaper than the measured one."""
    return cost.rps.value * hourly / cost.price.hourly


def cost_json(cost: Cost) -> Mapping[str, Any]:
    """Numbers for machines; ends that are not known are None."""
    minute = None if cost.audio_minute is None else _ends(cost.audio_minute)
    return {
        "price": cost.price.to_json(),
        "rps": _ends(cost.rps),
        "request": _ends(cost.request),
        "audio_minute": minute,
    }


def _ends(found: Interval) -> dict[str, float | None]:
    low = found.low if math.isfinite(found.low) and found.low > 0 else None
    return {
        "value": found.value,
        "low": low,
        "high": found.high if math.isfinite(found.high) else None,
    }


def _over(amount_a_second: float, rps: Interval) -> Interval:
    return Interval(
        amount_a_second / rps.value,
        0.0 if math.isinf(rps.high) else amount_a_second / rps.high,
        amount_a_second / rps.low if rps.low > 0 else math.inf,
    )


def _scaled(found: Interval, factor: float) -> Interval:
    return Interval(found.value * factor, found.low * factor, found.high * factor)
