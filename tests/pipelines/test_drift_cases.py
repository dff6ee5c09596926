"""A month of one model's records, looked at once a day: cases in the journal, by real files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.case_steps import Draft, acknowledge, clear, mute, unmute
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.assembly import Platform
from pipelines.drift_cases import look, state_of, told, write_down
from pipelines.narration import sentence
from registry.errors import ConflictError, UserError
from registry.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.drift_cases import Looked

MODEL = "speech"
HOUR_S, DAY_S = 3600, 86_400
BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC).timestamp()
POLICY = """kind = "whisper"

[convert]
variants = ["onnx-fp32"]

[gate]
dataset = "set"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
normaliser = "basic"
cluster = "speaker"

[gate.limits]
wer = 0.1

[rollout]
steps = [{ weight = 100 }]

[drift]
permutations = 119
clear_after = 2
cooldown_s = 0
"""


@dataclass
class Month:
    """Records of an hour a day, and the looks at them."""

    workspace: Workspace
    day: int = 0
    random: Any = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def platform(self) -> Platform:
        return Platform(self.workspace, actor="ann")

    @property
    def now(self) -> float:
        return BEGAN + self.day * DAY_S + HOUR_S

    def record(
        self, *, release: int = 1, louder: float = 0.0, without: tuple[str, ...] = ()
    ) -> None:
        """One hour of 400 requests, each a session."""
        self.day += 1
        began = self.now - HOUR_S
        rows = 400
        drawn = {
            "at": [
                datetime.fromtimestamp(began + 1 + at, UTC)
                for at in np.sort(self.random.uniform(0, HOUR_S - 2, rows))
            ],
            "session": [f"{self.day}-{number}" for number in range(rows)],
            "request": [f"{self.day}-r{number}" for number in range(rows)],
            "duration_s": self.random.gamma(4, 1, rows),
            "rms": self.random.normal(0.1 + louder, 0.03, rows),
            "snr_db": self.random.normal(20, 4, rows),
            "length_chars": self.random.integers(5, 60, rows),
            "average_log_probability": self.random.normal(-0.3, 0.1, rows),
            "empty": [False] * rows,
            "shadow": [False] * rows,
        }
        columns = {name: drawn.get(name, [None] * rows) for name in PREDICTION_SCHEMA.names} | {
            "model": [MODEL] * rows,
            "release": [release] * rows,
        }
        table = pa.table(columns, schema=PREDICTION_SCHEMA).drop_columns(list(without))
        hour = f"{datetime.fromtimestamp(began, UTC):%Y%m%d%H}"
        folder = (
            self.workspace.predictions / f"model={MODEL}" / f"release={release}" / f"hour={hour}"
        )
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-1-1.parquet")

    def look(self, **named: Any) -> Looked:
        return look(self.platform, MODEL, now=self.now, window_s=HOUR_S, **named)

    def say(self, step: Any) -> None:
        write_down(self.platform, MODEL, step, self.now)

    def pass_days(self, count: int) -> list[str]:
        verdicts = []
        for _ in range(count):
            self.record()
            verdicts.append(self.look().check.verdict)
        return verdicts


@pytest.fixture
def month(tmp_path: Path) -> Month:
    (tmp_path / "sluice.toml").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.toml").write_text(POLICY)
    return Month(Workspace(tmp_path))


def test_a_case_from_its_alarm_to_its_end(month: Month) -> None:
    assert "alarm" not in month.pass_days(15)
    assert state_of(month.platform, MODEL).case is None
    month.record(louder=0.06)
    found = month.look()
    case = found.state.case
    assert found.check.verdict == "alarm"
    assert case is not None
    assert ("rms" in case.columns, case.severity, case.release) == (True, "act", 1)
    assert len(found.calls) == 1
    assert found.check.page.exists()

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


def test_while_it_is_muted_nobody_is_called_and_the_case_opens(month: Month) -> None:
    month.pass_days(15)
    with pytest.raises(UserError, match="nothing is muted"):
        month.say(lambda state, _: unmute(state, ""))
    month.say(lambda _, at: mute(at=at, until=at + 5 * DAY_S, reason="load test"))
    month.record(louder=0.06)
    found = month.look()
    assert (found.state.case is not None, found.calls) == (True, ())
    with pytest.raises(UserError, match="no reason"):
        month.say(lambda state, _: clear(state, " "))
    month.say(lambda state, _: clear(state, "checked by ear"))
    assert state_of(month.platform, MODEL).case is None
    with pytest.raises(UserError, match="no drift case is open"):
        month.say(lambda state, _: acknowledge(state, ""))


def test_a_column_that_is_new_is_no_drift(month: Month) -> None:
    for _ in range(15):
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
