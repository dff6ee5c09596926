"""What a release's options say about audio longer than the model's window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFUSE, _CHUNK = "refuse", "chunk"
_LONGEST_S = 60.0
_LIMIT_S = 3600.0
_OVERLAP_S = 1.0


@dataclass(frozen=True)
class LongAudio:
    """`longest_s` is the most that is taken, in seconds; `overlap_s` that of chunks.

    Options: `long_audio` is `refuse` (the default) or `chunk`; with `chunk`, `longest_s` (the
    window to 3600, default 60) and `overlap_s` (0 to half of the window, default 1 or a third of
    the window if that is less).
    """

    longest_s: float
    overlap_s: float

    @classmethod
    def read(cls, options: Mapping[str, str], window_s: float) -> LongAudio:
        """What `options` say for a model of this window. Raises ValueError that names a range."""
        policy = options.get("long_audio", _REFUSE)
        if policy not in (_REFUSE, _CHUNK):
            raise ValueError(f"long_audio is {policy!r}; it may be {_REFUSE!r} or {_CHUNK!r}")
        overlap_s = _number(
            options, "overlap_s", (0.0, window_s / 2), min(_OVERLAP_S, window_s / 3)
        )
        longest_s = _number(options, "longest_s", (window_s, _LIMIT_S), max(_LONGEST_S, window_s))
        return cls(longest_s if policy == _CHUNK else window_s, overlap_s)


def _number(
    options: Mapping[str, str], name: str, allowed: tuple[float, float], default: float
) -> float:
    text = options.get(name, str(default))
    low, high = allowed
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if low <= value <= high:
        return value
    raise ValueError(f"{name} is {text!r}; give seconds from {low:g} to {high:g}")
