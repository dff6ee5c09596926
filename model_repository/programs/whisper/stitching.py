"""Joins what neighbouring chunks of one recording say, where both heard the same words.

Both sides of a seam may hold a word that the cut broke, and the model may have made another word
of it. So the end of the left and the beginning of the right are aligned locally (Smith and
Waterman 1981), what lies outside the alignment at the seam costs a little, and the change from
left to right is in the middle of the run that agrees, furthest from both cuts. The idea of the
middle is that of Transformers' `_find_longest_common_sequence`, which compares whole chunks at
every offset and so takes a phrase that is said twice for an overlap; here only what the overlap
can hold is compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

_DIFFERENCE = 1.0
"""Cost of a token within the alignment that the other side has not, or has differently."""
_OUTSIDE = 0.25
"""Cost of a token between the alignment and the seam: one shared word outweighs three."""


def stitch(chunks: Sequence[Sequence[Hashable]], reaches: Sequence[int]) -> list[tuple[int, int]]:
    """The range of tokens to keep of each chunk, so that what two of them heard is kept once.

    `reaches[i]` is how many tokens at the seam of chunks i and i + 1 both may have heard: 0 where
    they do not overlap. No three chunks share any sound. A range may be empty.
    """
    begins, ends = [0], []
    for left, right, reach in zip(chunks[:-1], chunks[1:], reaches, strict=True):
        # What an earlier seam took from the left is no longer there to be matched.
        first = max(begins[-1], len(left) - reach)
        seam = _seam(left[first:], right[:reach])
        ends.append(len(left) if seam is None else first + seam[0])
        begins.append(0 if seam is None else seam[1])
    ends.append(len(chunks[-1]))
    return list(zip(begins, ends, strict=True))


def _seam(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[int, int] | None:
    """How much of `left` to keep, and from where `right` goes on; None where nothing agrees."""
    best, run = 0.0, None
    scores = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    runs: list[list[_Run]] = [[()] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, token in enumerate(left):
        for j, other in enumerate(right):
            scores[i + 1][j + 1], runs[i + 1][j + 1] = _step(
                scores, runs, i, j, same=token == other
            )
            if token == other:
                outside = len(left) - 1 - i
                score = scores[i + 1][j + 1] - _OUTSIDE * outside
                if score > best:
                    best, run = score, runs[i + 1][j + 1]
    if not run:
        return None
    i, j = run[len(run) // 2]
    return i + 1, j + 1


_Run = tuple[tuple[int, int], ...]
"""Positions, left and right, of the tokens that agree."""


def _step(
    scores: list[list[float]], runs: list[list[_Run]], i: int, j: int, *, same: bool
) -> tuple[float, _Run]:
    """The best alignment that ends with tokens i and j; a new one pays for what it passes over."""
    if same:
        fresh = 1.0 - _OUTSIDE * j
        longer = scores[i][j] + 1.0
        if runs[i][j] and longer >= fresh:
            return longer, (*runs[i][j], (i, j))
        return fresh, ((i, j),)
    choices = (
        (scores[i][j] - _DIFFERENCE, runs[i][j]),
        (scores[i][j + 1] - _DIFFERENCE, runs[i][j + 1]),
        (scores[i + 1][j] - _DIFFERENCE, runs[i + 1][j]),
    )
    return max(choices, key=lambda one: one[0] if one[1] else float("-inf"))
