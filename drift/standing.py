"""What standing copies say of two releases before any case, as the journal tells it.

Evidence of harm alone moves no traffic: without an alarm it waits for one, whose case goes on with
these bets. A session is counted once, by the time it came and never by what it got.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from canary.pairs import BAD, is_block
from drift.case_steps import Draft
from drift.pair_blocks import PairBlock
from drift.worse_bets import WorseBets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.journal import Entry

COUNTED = "standing-pairs"


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything counted so far of copies that `previous` answered while `current` served."""

    current: int
    previous: int
    bets: WorseBets
    pairs: int = 0
    sessions: int = 0
    until: float = 0.0
    """When the last pair came that was counted, UTC epoch seconds."""
    bad_previous: int = 0
    bad_current: int = 0

    def after(self, block: PairBlock) -> Standing:
        """With one more block."""
        previous, current = block.outputs.get(BAD, (0, 0))
        return replace(
            self,
            bets=self.bets.after(block),
            pairs=self.pairs + block.pairs,
            sessions=self.sessions + block.sessions,
            until=max(self.until, block.until),
            bad_previous=self.bad_previous + previous,
            bad_current=self.bad_current + current,
        )

    def is_complete(self, block: PairBlock) -> bool:
        """Whether a round of the watch writes the block down, or leaves it for the next round."""
        return is_block(block.sessions, seen=self.sessions, seconds=math.inf)

    def draft(self, block: PairBlock) -> Draft:
        """The entry of one more block, with where the evidence stands after it."""
        after = self.after(block)
        body = {
            "current": self.current,
            "previous": self.previous,
            "worse_margin": self.bets.margin,
            "pairs": after.pairs,
            "log_e": round(after.bets.log_e, 6),
            "block": block.to_json(),
        }
        return Draft(COUNTED, body)


def standing_of(entries: Iterable[Entry], current: int, previous: int, margin: float) -> Standing:
    """What was counted of these two releases by bets against `margin`."""
    wanted = (current, previous, margin)
    standing = Standing(current, previous, WorseBets.begun(margin))
    for entry in entries:
        body = entry.body
        if entry.kind != COUNTED:
            continue
        if (body["current"], body["previous"], body["worse_margin"]) == wanted:
            standing = standing.after(PairBlock.from_json(body["block"]))
    return standing
