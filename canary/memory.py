"""Whether a candidate's memory grows without bound.

What a process holds after its start says little: caches fill, pools grow with the longest request,
and then it stays. So nothing is said of a candidate until it holds several times what it had when
it became ready, and much more in bytes too. And from then on only new heights count: each a good
part above the last, some time after it. What has found its level makes no more of them, however
high that is; what leaks makes one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from canary.plan import RolloutPlan

RISE = 1.1
"""A new height is this many times the last one."""
APART_S = 10.0
"""The least time between two of them."""
HEIGHTS = 5
"""So many, the first that is over the limit among them, are growth without bound: the last is
half as much again as the first (1.1^4 = 1.46), at least 40 s later."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class MemoryWatch:
    """What is known of one revision's memory, in bytes; times in seconds since 1970."""

    first: int
    """What it held when it was first seen ready."""
    heights: int = 0
    """Heights over the limit so far."""
    highest: int = 0
    """The last of them, and when it was seen."""
    at: float = 0.0

    def after(self, held: int, now: float, plan: RolloutPlan) -> MemoryWatch:
        """With one more look; equal to this one when it says nothing new."""
        if not held or not self._over(held, plan):
            return replace(self, heights=0, highest=0, at=0.0) if held else self
        is_new = not self.heights or (held >= RISE * self.highest and now - self.at >= APART_S)
        return MemoryWatch(self.first, self.heights + 1, held, now) if is_new else self

    @property
    def trouble(self) -> str:
        """What is wrong with it, empty when nothing is."""
        if self.heights < HEIGHTS:
            return ""
        return f"its memory grew from {self.first / MB:.0f} to {self.highest / MB:.0f} MB"

    def _over(self, held: int, plan: RolloutPlan) -> bool:
        if not plan.memory_growth:
            return False
        return held >= max(plan.memory_growth * self.first, self.first + plan.memory_floor_mb * MB)
