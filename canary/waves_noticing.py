"""What a look at a region says that the model's journal does not know yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary.waves_effects import RecordWave
from canary.waves_states import Course, Standing

if TYPE_CHECKING:
    from canary.waves_states import RegionState, Seen, Waves


def noticed(waves: Waves, region: RegionState, seen: Seen) -> RecordWave | None:
    """The entry that says how the region changed; None when all of it is known."""
    away = region.cut_off_since is not None
    if seen.cut_off:
        body = {"region": region.name, "reason": seen.cut_off}
        return None if away else RecordWave("region-cut-off", body)
    if away:
        return RecordWave("region-returned", {"region": region.name})
    moved = region.standing in (Standing.BEGUN, Standing.SETTLED)
    return _moved(waves, region, seen) if moved and seen.rolling is None else None


def _moved(waves: Waves, region: RegionState, seen: Seen) -> RecordWave | None:
    """Nothing is under way there, so what is live says how its wave ended."""
    begun, body = region.standing is Standing.BEGUN, {"region": region.name}
    if seen.live == waves.candidate:
        return RecordWave("wave-settled", body) if begun else None
    if waves.heading is not Course.FORWARD and seen.live == region.baseline:
        return RecordWave("wave-reverted", {**body, "release": region.baseline})
    last = seen.last
    ours = last is not None and last[0] >= region.since_rollout
    if begun and not ours:
        return None
    reason = last[3] if last is not None and ours else f"release {seen.live} serves there"
    outcome = last[2].value if last is not None and ours else "changed"
    return RecordWave("wave-turned-back", {**body, "outcome": outcome, "reason": reason})
