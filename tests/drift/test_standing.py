from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from canary.ports import Output, Pair
from drift.pair_blocks import count_block
from drift.standing import COUNTED, Standing, standing_of
from registry.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD, EMPTY = Output(), Output(empty=True)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    yield journal
    journal.close()


def told(journal: Journal, margin: float = 0.0) -> Standing:
    return standing_of(journal.read("m"), 2, 1, margin)


def pairs(count: int, bad: int, at: float = 1.0) -> list[Pair]:
    return [
        Pair(f"r{at}-{number}", "", at, GOOD, EMPTY if number < bad else GOOD)
        for number in range(count)
    ]


def test_blocks_add_up_by_releases_and_margin(journal: Journal) -> None:
    assert (told(journal).pairs, told(journal).bets.log_e) == (0, pytest.approx(0.0))
    for count, bad, at in ((100, 3, 5.0), (50, 2, 9.0)):
        draft = told(journal).draft(count_block(pairs(count, bad, at)))
        assert draft.kind == COUNTED
        journal.append("m", draft.kind, json.loads(json.dumps(draft.body)), actor="ann", at=at)
    standing = told(journal)
    assert (standing.pairs, standing.sessions, standing.until) == (150, 150, 9.0)
    assert (standing.bad_previous, standing.bad_current) == (0, 5)
    assert standing.bets.log_e > 0
    assert journal.read("m")[-1].body["log_e"] == pytest.approx(standing.bets.log_e, abs=1e-6)
    assert told(journal, margin=0.01).pairs == 0
    assert standing_of(journal.read("m"), 3, 2, 0.0).pairs == 0


def test_a_few_sessions_wait_for_the_next_round(journal: Journal) -> None:
    standing = told(journal)
    assert not standing.is_complete(count_block(pairs(9, 0)))
    assert standing.is_complete(count_block(pairs(10, 0)))
