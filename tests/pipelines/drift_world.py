"""A month of one model's records in real files, and a journal of its own: no engine is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from canary.plan import RolloutPlan, Step
from drift.gate_reference import GateReference, reference_of
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.assembly import Platform
from pipelines.drift_cases import look, write_down
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
        self,
        *,
        release: int = 1,
        rows: int = 400,
        louder: float = 0.0,
        late_s: float = 0.0,
        without: tuple[str, ...] = (),
        is_new_day: bool = True,
    ) -> None:
        """One hour of requests, each a session, dated `late_s` seconds too late."""
        self.day += is_new_day
        table = self.draw(rows, release, louder, late_s).drop_columns(list(without))
        hour = f"{datetime.fromtimestamp(self.now - HOUR_S + late_s, UTC):%Y%m%d%H}"
        folder = (
            self.workspace.predictions / f"model={MODEL}" / f"release={release}" / f"hour={hour}"
        )
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part-1-1.parquet")

    def draw(
        self, rows: int, release: int = 1, louder: float = 0.0, late_s: float = 0.0
    ) -> pa.Table:
        """Records of the newest hour."""
        began = self.now - HOUR_S + late_s
        drawn = {
            "at": [
                datetime.fromtimestamp(began + 1 + at, UTC)
                for at in np.sort(self.random.uniform(0, HOUR_S - 2, rows))
            ],
            "session": [f"{self.day}-{release}-{number}" for number in range(rows)],
            "request": [f"{self.day}-{release}-r{number}" for number in range(rows)],
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
        return pa.table(columns, schema=PREDICTION_SCHEMA)

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

    def gate_reference(self, *, louder: float = 0.0) -> GateReference:
        """What a gate keeps of 400 utterances of 40 speakers; a sure answer has few errors."""
        table = self.draw(400, louder=louder)
        names = table.column("request").to_pylist()
        sure = table.column("average_log_probability").to_numpy()
        wer = np.clip(0.05 - 0.2 * (sure + 0.3) + self.random.normal(0, 0.01, 400), 0, 1)
        speakers = [f"speaker-{number // 10}" for number in range(400)]
        found = reference_of(table, names, speakers, "d" * 64, wer)
        assert found is not None
        return found

    def publish(self, release: int, reference: GateReference | None) -> None:
        """A published release whose gate kept that."""
        names = ("variant_digest", "artifact", "manifest_digest", "report_digest")
        body: dict[str, Any] = dict.fromkeys(names, "a" * 64)
        body |= {"variant": "onnx-fp32", "release": release}
        if reference is not None:
            folder = self.workspace.root / f"reference-{release}"
            folder.mkdir()
            for name, content in reference.to_files().items():
                (folder / name).write_bytes(content)
            body["reference"] = self.platform.store.add(folder).digest
        self.platform.append(MODEL, "release-published", body)

    def settle(self) -> None:
        """Release 1 gets all the traffic an hour before the next day's records."""
        at = self.now + DAY_S - 2 * HOUR_S
        plan = RolloutPlan(steps=(Step(weight=100),)).model_dump(mode="json")
        routed = {"shares": [[1, 100]]}
        entries: list[tuple[str, dict[str, Any]]] = [
            ("rollout-started", {"rollout": 1, "candidate": 1, "baseline": None, "plan": plan}),
            *_effect(1, "StartRevision", {"state": "ready"}, release=1),
            *_effect(2, "AdmitRevision", {"admitted": True, "checks": []}, release=1),
            ("phase-entered", {"phase": "loaded"}),
            ("phase-entered", {"phase": "promoted"}),
            *_effect(3, "WriteRoute", routed, **routed),
            ("phase-entered", {"phase": "settled"}),
            ("rollout-ended", {"outcome": "settled"}),
        ]
        for kind, body in entries:
            self.platform.journal.append(MODEL, kind, body, actor="ann", at=at)


def _effect(
    number: int, name: str, observed: dict[str, Any], **arguments: Any
) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("effect-started", {"effect": number, "name": name, "arguments": arguments}),
        ("effect-confirmed", {"effect": number, "observed": observed}),
    ]


def empty_month(folder: Path) -> Month:
    (folder / "sluice.toml").write_text("")
    (folder / "models").mkdir()
    (folder / "models" / f"{MODEL}.toml").write_text(POLICY)
    return Month(Workspace(folder))
