from __future__ import annotations

from typing import Any

import pytest

from canary.delivery import DAY_S, WINDOW_S, delivery
from canary.phases import Outcome
from canary.states import EndedRollout

NOW = 100 * DAY_S


def ended(number: int, candidate: int, outcome: Outcome, ago_s: float, **more: Any) -> EndedRollout:
    at = NOW - ago_s
    values = {
        "number": number,
        "candidate": candidate,
        "baseline": candidate - 1,
        "target": candidate - 1,
        "outcome": outcome,
        "reason": "",
        "started_at": at - 600,
        "first_evidence_at": None,
        "decided_at": None,
        "ended_at": at,
    }
    return EndedRollout(**values | more)


def test_nothing_happened() -> None:
    found = delivery([], {}, now=NOW)
    assert (found.deployments, found.per_day, found.failure_share) == (0, 0.0, None)
    assert (found.lead_s, found.restore_s) == (None, None)


def test_the_four_measures() -> None:
    history = [
        ended(1, 1, Outcome.SETTLED, 20 * DAY_S),
        ended(2, 2, Outcome.SETTLED, 10 * DAY_S),
        ended(3, 3, Outcome.ROLLED_BACK, 5 * DAY_S, first_evidence_at=NOW - 5 * DAY_S - 2),
        ended(4, 4, Outcome.REJECTED, 4 * DAY_S),
        ended(5, 5, Outcome.COMPARED, 3 * DAY_S),
        ended(6, 6, Outcome.SETTLED, 2 * DAY_S),
        # A person leaves release 6 a day after it had settled.
        ended(7, 6, Outcome.ROLLED_BACK, DAY_S, decided_at=NOW - DAY_S - 8),
    ]
    registered = {1: NOW - 21 * DAY_S, 2: NOW - 12 * DAY_S, 6: NOW - 5 * DAY_S}
    found = delivery(history, registered, now=NOW)
    assert found.deployments == 4  # 1, 2, 6, and 3, which got traffic and lost it
    assert found.failures == 2
    assert found.failure_share == 0.5
    assert found.per_day == pytest.approx(4 / 30)
    assert found.lead_s == 2 * DAY_S
    assert found.restore_s == pytest.approx(5.0)


def test_what_is_past_the_window_counts_no_more() -> None:
    history = [
        ended(1, 1, Outcome.SETTLED, WINDOW_S + 5),
        ended(2, 1, Outcome.ROLLED_BACK, DAY_S, decided_at=NOW - DAY_S - 1),
    ]
    found = delivery(history, {}, now=NOW)
    assert (found.deployments, found.failures) == (0, 0)
    assert found.restore_s == pytest.approx(1.0)
