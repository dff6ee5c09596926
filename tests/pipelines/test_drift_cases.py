"""A month of one model's records, looked at once a day: cases in the journal, by real files."""

from __future__ import annotations

import copy
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from drift.case_steps import Draft, acknowledge, clear, mute, unmute
from pipelines.drift_cases import state_of, told
from pipelines.narration import sentence
from registry.errors import ConflictError, UserError
from registry.workspace import Workspace

from .drift_world import DAY_S, MODEL, Month, empty_month

if TYPE_CHECKING:
    from pathlib import Path

QUIET_DAYS = 17
"""Three days until there are same hours to compare with, and 14 that were compared with them."""


@pytest.fixture
def month(tmp_path: Path) -> Month:
    return empty_month(tmp_path)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """Days after which an alarm can be raised; only to be copied."""
    month = empty_month(tmp_path_factory.mktemp("lived"))
    verdicts = month.pass_days(QUIET_DAYS)
    assert verdicts[:3] == ["not enough data"] * 3
    assert "alarm" not in verdicts
    return month


@pytest.fixture
def past(lived: Month, tmp_path: Path) -> Month:
    """The same days, in a workspace of the test's own."""
    shutil.copytree(lived.workspace.root, tmp_path, dirs_exist_ok=True)
    return Month(Workspace(tmp_path), lived.day, copy.deepcopy(lived.random))


def test_a_case_from_its_alarm_to_its_end(past: Month) -> None:
    month = past
    assert state_of(month.platform, MODEL).case is None
    month.record(louder=0.06)
    found = month.look()
    case = found.state.case
    assert found.check.verdict == "alarm"
    assert case is not None
    assert ("rms" in case.columns, case.severity, case.release) == (True, "act", 1)
    assert len(found.calls) == 1
    assert (found.folder / "drift.html").exists()

    again = month.look()
    assert not again.is_kept
    assert "overlaps" in again.to_json()["kept"]
    assert again.state.windows == found.state.windows

    month.record(louder=0.06)
    assert month.look().calls == (), "somebody was called already"
    month.say(lambda state, _: acknowledge(state, "new microphones"))
    case = state_of(month.platform, MODEL).case
    assert case is not None
    assert case.acknowledged_by == "ann"

    # The loud days are part of the reference until they are a week old.
    month.pass_days(9)
    state = state_of(month.platform, MODEL)
    assert state.case is None
    assert "quiet windows" in state.ended[-1].end
    month.platform.journal.verify(MODEL)
    words = [sentence(entry) for entry in month.platform.journal.read(MODEL)]
    assert any(line.startswith("drift case 1, act, release 1:") for line in words)
    assert told(state)["ended"][0]["acknowledged_by"] == "ann"


def test_while_it_is_muted_nobody_is_called_and_the_case_opens(past: Month) -> None:
    month = past
    with pytest.raises(UserError, match="nothing is muted"):
        month.say(lambda state, _: unmute(state, ""))
    month.say(lambda _, at: mute(at=at, until=at + 5 * DAY_S, reason="load test"))
    month.record(louder=0.06)
    found = month.look()
    assert found.check.verdict == "alarm"
    assert (found.state.case is not None, found.calls) == (True, ())
    with pytest.raises(UserError, match="no reason"):
        month.say(lambda state, _: clear(state, " "))
    month.say(lambda state, _: clear(state, "checked by ear"))
    assert state_of(month.platform, MODEL).case is None
    with pytest.raises(UserError, match="no drift case is open"):
        month.say(lambda state, _: acknowledge(state, ""))


def test_a_column_that_is_new_is_no_drift(month: Month) -> None:
    for _ in range(4):
        month.record(without=("average_log_probability",))
        month.look()
    month.record(release=2)
    found = month.look()
    assert found.check.verdict in {"quiet", "watch"}
    assert "average_log_probability" not in found.check.reason
    assert found.check.release == 2


def test_an_empty_window_is_not_quiet(month: Month) -> None:
    month.pass_days(2)
    month.day += 1
    found = month.look()
    assert found.check.verdict == "not enough data"
    assert state_of(month.platform, MODEL).case is None


def test_what_others_write_meanwhile_is_in_nobodys_way_unless_it_is_the_same_case(
    month: Month,
) -> None:
    month.record()
    month.look()

    def while_a_rollout_writes(_: Any, at: float) -> Draft:
        month.platform.append(MODEL, "pause-requested", {"reason": "lunch"})
        return mute(at=at, until=at + DAY_S, reason="load test")

    month.say(while_a_rollout_writes)
    assert state_of(month.platform, MODEL).mute is not None

    def while_another_unmutes(state: Any, _: float) -> Draft:
        month.say(lambda state, _: unmute(state, "over"))
        return unmute(state, "over, too")

    with pytest.raises(ConflictError, match="meanwhile"):
        month.say(while_another_unmutes)
    assert state_of(month.platform, MODEL).mute is None
