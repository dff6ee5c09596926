"""Durations as people write them on the command line."""

from __future__ import annotations

import re

from registry.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdw])")


def seconds(duration: str) -> float:
    """`7d` in seconds. Raises UserError for anything but a number and a unit."""
    match = _DURATION.fullmatch(duration.strip())
    if match is None or not float(match["number"]):
        raise UserError(f"{duration!r} is no duration", remedy="write 90s, 30m, 12h, 7d or 2w")
    return float(match["number"]) * _UNITS[match["unit"]]
