"""Claims a file of bare numbers: every byte belongs to a tensor that another file names.

Such a file has no words of its own. What stands between two tensors is padding: zeros, fewer than
the largest alignment that exporters use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.intake.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.intake.reading import Part
    from registry.intake.source import Source

_LARGEST_PADDING = 1 << 16  # Windows' allocation granularity, ONNX's own recommendation


def read_weights(source: Source, parts: Sequence[Part], owner: str) -> Reading:
    """Claim the weights of `owner`. Raises UserError when bytes are missing, or nobody's."""
    end = 0
    for part in sorted(parts, key=lambda one: (one.begin, one.end)):
        if part.end > source.size:
            raise source.damaged(
                f"{owner} keeps {part.tensor!r} in bytes {part.begin} to {part.end}, "
                f"it has {source.size}"
            )
        if part.begin > end:
            _check_padding(source, end, part.begin, owner)
        end = max(end, part.end)
    if end < source.size:
        raise source.refused(f"has {source.size - end} bytes at its end that {owner} never names")
    return Reading(f"weights of {owner}")


def _check_padding(source: Source, begin: int, end: int, owner: str) -> None:
    if end - begin >= _LARGEST_PADDING or any(source.read(begin, end - begin)):
        raise source.refused(f"has {end - begin} bytes from {begin} on that {owner} never names")
