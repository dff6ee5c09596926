"""How a report writes a number: by the unit of its metric, the same on a page, in a table, in CI.

It only writes; what a number means is decided where it was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from validation.evidence import Check

UNKNOWN = "-"
"""In place of a number that could not be measured."""

_PLACES = {"points": 2, "dB": 2, "score": 3, "ms": 1, "s": 3, "per second": 1, "ratio": 4}
_SUFFIXES = {"dB": " dB", "ms": " ms", "s": " s", "per second": "/s"}


def quantity(value: float | None, unit: str, *, signed: bool = False) -> str:
    """`value` with its unit: a share as percent, bytes as MB (1,000,000), others as they are.

    `signed` writes a plus, for differences. An unknown unit is written to four digits.
    """
    if value is None:
        return UNKNOWN
    plus = "+" if signed else ""
    if unit == "share":
        return f"{value:{plus}z.2%}"
    if unit == "bytes":
        return f"{value / 1e6:{plus}z.2f} MB"
    if unit not in _PLACES:
        return f"{value:{plus}z.4g}"
    return f"{value:{plus}z.{_PLACES[unit]}f}{_SUFFIXES.get(unit, '')}"


def interval(check: Check) -> str:
    """Both ends of a check's interval, or the one that the data gives."""
    low, high = of_check(check, check.low), of_check(check, check.high)
    match (check.low is not None, check.high is not None):
        case (True, True):
            return f"{low} to {high}"
        case (True, False):
            return f"{low} or more"
        case (False, True):
            return f"{high} or less"
        case _:
            return UNKNOWN


def of_check(check: Check, value: float | None) -> str:
    """A value of a check in the check's unit, signed when it is a difference."""
    return quantity(value, check.unit, signed=bool(check.baseline))


def percent(share: float) -> str:
    """A chance as people say it: never 0 % or 100 % unless it is."""
    if 0 < share < 0.01:
        return "under 1%"
    if 0.99 < share < 1:
        return "over 99%"
    return f"{share:.0%}"
