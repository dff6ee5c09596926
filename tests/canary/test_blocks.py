"""Counters, blocks and observations."""

from __future__ import annotations

import json
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.blocks import MAX_BLOCK_S, MIN_BLOCK_REQUESTS, Block, Observation, gained
from canary.ports import ArmCounters, RevisionState, RevisionStatus


@st.composite
def counters(draw: st.DrawFn) -> ArmCounters:
    requests, sessions = draw(st.integers(0, 10_000)), draw(st.integers(0, 1000))
    of_requests = [draw(st.integers(0, requests)) for _ in range(4)]
    of_sessions = [draw(st.integers(0, sessions)) for _ in range(2)]
    return ArmCounters(requests, *of_requests, sessions, *of_sessions)


@given(counters(), counters())
def test_what_was_gained_adds_up(before: ArmCounters, more: ArmCounters) -> None:
    pairs = zip(astuple(before), astuple(more), strict=True)
    assert gained(before, ArmCounters(*(old + new for old, new in pairs))) == more


@pytest.mark.parametrize(
    "now", [ArmCounters(5, 0, 0), ArmCounters(20, 1, 0), ArmCounters(11, 8, 0), ArmCounters()]
)
def test_counters_that_began_again_gained_nothing_that_is_known(now: ArmCounters) -> None:
    assert gained(ArmCounters(10, 2, 0), now) is None


@pytest.mark.parametrize(
    "now",
    [
        ArmCounters(300, sessions=39, sessions_failed=4, sessions_slow=2),
        ArmCounters(300, sessions=42, sessions_failed=3, sessions_slow=2),
        ArmCounters(300, sessions=42, sessions_failed=43, sessions_slow=2),
        ArmCounters(300),
        ArmCounters(300, sessions=42, sessions_failed=4, sessions_slow=2, sessions_empty=43),
    ],
)
def test_sessions_that_began_again_gained_nothing_that_is_known(now: ArmCounters) -> None:
    before = ArmCounters(200, sessions=40, sessions_failed=4, sessions_slow=2)
    assert gained(before, now) is None
    assert gained(before, ArmCounters(300, 0, 0, 0, 0, 42, 42, 2)) is not None
    # Programs tell later than the router: of sessions seen earlier, and of more than its requests.
    late = ArmCounters(201, 0, 0, 9, 9, 40, 4, 2, sessions_empty=9, sessions_fallback=9)
    assert gained(before, late) is not None
    assert gained(ArmCounters(200), ArmCounters(201, 0, 0, 9)) is None


def test_a_journal_of_three_counters_is_read_as_before() -> None:
    entry = {"at": 1.0, "blind": "", "revisions": {}, "counters": {"2": [10, 3, 1]}}
    assert Observation.from_json(entry).counters_of(2) == ArmCounters(10, 3, 1)


def complete(block: Block, *, compared: bool = True, seen: int = 0, seconds: float = 0) -> bool:
    return block.complete(compared=compared, seen=seen, seconds=seconds)


def test_a_block_needs_both_arms_only_when_they_are_compared() -> None:
    enough = ArmCounters(MIN_BLOCK_REQUESTS)
    assert complete(Block(enough, enough))
    assert not complete(Block(enough, ArmCounters(1)))
    assert complete(Block(enough), compared=False)
    assert not complete(Block(ArmCounters(), enough), compared=False)


def test_blocks_grow_with_what_was_seen_until_time_ends_them() -> None:
    block = Block(ArmCounters(50), ArmCounters(500))
    assert complete(block, seen=1000)
    assert not complete(block, seen=1001)
    assert complete(block, seen=1_000_000, seconds=MAX_BLOCK_S)
    assert not complete(Block(ArmCounters(9), ArmCounters(90)), seconds=3600)


@given(counters(), counters(), st.integers(0, 10**6), st.floats(0, 10))
def test_where_a_block_ends_does_not_depend_on_its_events(
    candidate: ArmCounters, baseline: ArmCounters, seen: int, seconds: float
) -> None:
    """What the proof in canary.evidence asks for."""
    eventless = Block(ArmCounters(candidate.requests), ArmCounters(baseline.requests))
    block = Block(candidate, baseline)
    assert complete(block, seen=seen, seconds=seconds) == complete(
        eventless, seen=seen, seconds=seconds
    )


def test_the_share_is_the_measured_one() -> None:
    block = Block(ArmCounters(25, 3, 1), ArmCounters(75, 1, 4))
    assert block.share == 0.25
    assert (block.errors.events_candidate, block.errors.events_total) == (3, 4)
    assert (block.slow.events_candidate, block.slow.events_total) == (1, 5)
    assert Block().share == 0


@given(
    st.dictionaries(st.integers(1, 99), counters()),
    st.dictionaries(st.integers(1, 99), st.sampled_from(RevisionState)),
    st.booleans(),
)
def test_observations_survive_the_journal(
    arms: dict[int, ArmCounters], states: dict[int, RevisionState], blind: bool
) -> None:
    seen = Observation(
        at=12.25,
        revisions={release: RevisionStatus(state, "why", 2) for release, state in states.items()},
        counters=None if blind else arms,
        blind="time-out" if blind else "",
    )
    assert Observation.from_json(json.loads(json.dumps(seen.to_json()))) == seen
