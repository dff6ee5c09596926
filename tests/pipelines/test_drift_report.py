"""The drift page from a real journal and real files, and what people export to label."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import wave
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.pair_blocks import PairBlock
from drift.report_words import headline
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.assembly import Platform
from pipelines.drift_cases import state_of
from pipelines.drift_check import check_drift
from pipelines.drift_report import keep_report, make_report, report_folder, summary, tell
from pipelines.drift_sample import write_sample
from pipelines.labelled_set import make_set
from pipelines.overview import overview
from registry.errors import UserError
from registry.workspace import Workspace
from tests.rollout.stage import QUICK, Stage
from validation.dataset import Dataset

from .drift_world import MODEL, POLICY

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S, DAY_S = 3600.0, 86_400.0
NOW = datetime(2026, 3, 20, 10, tzinfo=UTC).timestamp()
WINDOW = (NOW - HOUR_S, NOW)


def record(workspace: Workspace, until: float, release: int = 2, **columns: Any) -> None:
    """An hour of 300 requests before `until`."""
    rows, began = 300, until - HOUR_S
    rng = np.random.default_rng([int(until), release])
    drawn = {
        "at": [datetime.fromtimestamp(began + 1 + 11 * i, UTC) for i in range(rows)],
        "session": [f"{until:.0f}-{number // 2}" for number in range(rows)],
        "request": [f"{until:.0f}-r{number}" for number in range(rows)],
        "duration_s": rng.gamma(4, 1, rows),
        "rms": rng.normal(0.1, 0.03, rows),
        "snr_db": rng.normal(20, 4, rows),
        "average_log_probability": rng.normal(-0.3, 0.1, rows),
        "empty": [False] * rows,
        "shadow": [False] * rows,
        "language": ["vi" if number % 5 else "en" for number in range(rows)],
        **columns,
        "model": [MODEL] * rows,
        "release": [release] * rows,
    }
    named = {name: drawn.get(name, [None] * rows) for name in PREDICTION_SCHEMA.names}
    hour = f"{datetime.fromtimestamp(began, UTC):%Y%m%d%H}"
    folder = workspace.predictions / f"model={MODEL}" / f"release={release}" / f"hour={hour}"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(named, schema=PREDICTION_SCHEMA), folder / "part-1-1.parquet")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of an hour each, the last with half of it empty; release 1, then 2 is live."""
    root = tmp_path_factory.mktemp("lived")
    (root / "sluice.toml").write_text("")
    (root / "models").mkdir()
    (root / "models" / f"{MODEL}.toml").write_text(POLICY)
    platform = Platform(Workspace(root), actor="ann")
    stage = Stage.in_memory()
    stage.world.now = NOW - 5 * DAY_S
    for release in (1, 2):
        assert stage.controller().promote(MODEL, release, QUICK).outcome == "settled"
    for entry in stage.entries():
        platform.journal.append(MODEL, entry.kind, entry.body, actor="ci", at=entry.at)
    for day in range(3, 0, -1):
        record(platform.workspace, NOW - day * DAY_S)
    record(platform.workspace, NOW, empty=[number % 2 == 0 for number in range(300)])
    return root


@pytest.fixture
def platform(lived: Path, tmp_path: Path) -> Platform:
    """The same, in a workspace of the test's own."""
    shutil.copytree(lived, tmp_path, dirs_exist_ok=True)
    return Platform(Workspace(tmp_path), actor="ann")


def journal(platform: Platform, kind: str, *, before_s: float = 0.0, **body: Any) -> None:
    platform.journal.append(MODEL, kind, body, actor="ann", at=NOW - before_s)


def open_case(platform: Platform) -> None:
    ends = {"since": WINDOW[0], "until": WINDOW[1]}
    window = {"outcome": "alarm", "reason": "empty", "release": 2, "distances": None}
    journal(platform, "window-judged", **window, **ends)
    alarm = {"severity": "act", "columns": ["empty"], "reason": "half is empty", "release": 2}
    journal(platform, "alarm-raised", case=1, alpha=0.01, **alarm, **ends)


def count_pairs(platform: Platform, e_values: list[float]) -> None:
    begun = {"current": 2, "previous": 1, "usual": {}, "unsure_under": None}
    journal(platform, "attribution-begun", case=1, plan={"alpha": 0.005}, **begun)
    for number, value in enumerate(e_values, 1):
        block = PairBlock(pairs=40, sessions=20, until=NOW).to_json()
        counted = {"pairs": 40 * number, "e_value": value, "log_e": math.log(value)}
        journal(platform, "drift-pairs", case=1, block=block, **counted)


def test_the_page_of_the_last_check_tells_its_case_and_its_evidence(platform: Platform) -> None:
    open_case(platform)
    count_pairs(platform, [3.0, 40.0, 900.0])
    record(platform.workspace, NOW, release=1, shadow=[True] * 300)
    told = make_report(platform, MODEL, now=NOW + 60, evidently=False)
    report = told.report
    assert (report.window.since, report.window.until) == WINDOW
    assert report.case is not None
    assert report.evidence is not None
    assert [pairs for _, pairs, _ in report.evidence.curve] == [40, 80, 120]
    assert (report.evidence.acts_at, report.evidence.previous) == (200, 1)
    assert (report.paired, len(report.pairs)) == (300, 12)
    assert all(pair.current.bad == ("empty",) for pair in report.pairs)
    assert report.spent is not None
    assert (report.spent.alarms, report.spent.undecided) == (1, 1)
    assert report.timeline is not None
    assert [one.release for one in report.timeline.live] == [1, 2]
    page = told.page.read_text()
    # No past is in this journal, so judged again the window is less than the check made of it.
    assert report.checked_as == "alarm"
    assert "When it was checked, this window was <code>alarm</code>" in page
    assert told.page == platform.workspace.reports / "drift" / MODEL / "drift.html"
    for part in ("e-value 900 after 120 pairs; acts at 200", "release 2 went live", "Worst paired"):
        assert part in page
    figures = told.to_json()
    assert (figures["pairs"], figures["e_value"], figures["case"]) == (120, 900.0, 1)
    assert figures["moved"][0]["column"] == "empty"
    assert json.loads(json.dumps(figures)) == figures
    assert figures["kept"] == "no: no published release is live"


def test_a_second_comparison_begins_the_curve_anew(platform: Platform) -> None:
    open_case(platform)
    count_pairs(platform, [3.0, 40.0])
    count_pairs(platform, [1.5])
    report = make_report(platform, MODEL, now=NOW + 60, evidently=False).report
    assert report.evidence is not None
    assert [value for _, _, value in report.evidence.curve] == [1.5]


def test_a_page_is_completed_in_place(platform: Platform) -> None:
    state = state_of(platform, MODEL)
    check = check_drift(platform, MODEL, window_s=HOUR_S, now=NOW, state=state)
    page = report_folder(platform.workspace, MODEL) / "drift.html"
    assert not page.exists()
    tell(platform, check, now=NOW)
    before = page.read_text()
    open_case(platform)
    report = tell(platform, check, now=NOW)
    after = page.read_text()
    assert "Case 1 (act) was opened" not in before
    assert "Case 1 (act) was opened" in after
    assert headline(report).partition(":")[0].lower() == check.verdict
    words = summary(report, page)
    assert words.startswith(f"# {headline(report)}\n")
    assert page.as_uri() in words
    assert "- To do: " in words
    assert "- Done: Case 1 (act)" in words


def test_a_span_has_a_page_of_its_own_and_nothing_is_journaled(platform: Platform) -> None:
    check = check_drift(platform, MODEL, window_s=HOUR_S, now=NOW, state=state_of(platform, MODEL))
    tell(platform, check, now=NOW)
    page = report_folder(platform.workspace, MODEL) / "drift.html"
    before = page.read_bytes()
    entries = len(platform.journal.read(MODEL))
    told = make_report(platform, MODEL, now=NOW, since_s=1800.0, evidently=False)
    assert told.page.parent.name == "20260320T093000Z-20260320T100000Z"
    assert told.report.assessment.judgement.window_rows < 300
    assert page.read_bytes() == before
    assert len(platform.journal.read(MODEL)) == entries
    with pytest.raises(UserError, match="at most a day"):
        make_report(platform, MODEL, now=NOW, since_s=2 * DAY_S, evidently=False)


def test_status_shows_the_case_and_the_page(platform: Platform) -> None:
    (row,) = overview(platform.workspace, MODEL)["models"]
    assert row["drift"] == {"case": "", "page": ""}
    assert row["live"] == 2
    check = check_drift(platform, MODEL, window_s=HOUR_S, now=NOW, state=state_of(platform, MODEL))
    tell(platform, check, now=NOW)
    open_case(platform)
    (row,) = overview(platform.workspace, MODEL)["models"]
    assert row["drift"]["case"] == "case 1, act, release 2, taken by nobody"
    assert row["drift"]["page"].endswith("drift.html")


@pytest.mark.engine
# MLflow's own tables use a loader that SQLAlchemy 2.1 has begun to warn of.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")
def test_the_page_is_kept_with_the_live_releases_run(platform: Platform, tmp_path: Path) -> None:
    client = platform.tracking._client
    run = client.create_run(client.create_experiment(MODEL, (tmp_path / "kept").as_uri()))
    artifact = {"digest": "a" * 64, "version": "1", "run_id": run.info.run_id}
    journal(platform, "artifact-registered", **artifact)
    names = ("variant_digest", "report_digest", "manifest_digest", "variant", "serve")
    published = dict.fromkeys(names, "x") | {"release": 2, "artifact": "a" * 64}
    journal(platform, "release-published", **published)
    told = make_report(platform, MODEL, now=NOW, evidently=False)
    name = "drift/release-2/20260320T090000Z-20260320T100000Z"
    assert told.kept == f"run {run.info.run_id}, {name}"
    kept = {one.path for one in platform.tracking._client.list_artifacts(run.info.run_id, name)}
    assert kept == {f"{name}/drift.html", f"{name}/drift.json"}
    assert keep_report(platform, told.report, told.page.parent) == told.kept, "kept once"


def test_a_sample_is_a_sheet_that_a_person_can_fill_in(platform: Platform, tmp_path: Path) -> None:
    record(
        platform.workspace,
        NOW + HOUR_S,
        session=["=1+1"] * 300,
        request=[f"-{i}" for i in range(300)],
    )
    folder = tmp_path / "label"
    drawn = write_sample(
        platform, MODEL, folder, size=40, seed=3, now=NOW + HOUR_S, since_s=2 * HOUR_S
    )
    assert (drawn["requests"], drawn["worst"], drawn["drawn"]) == (600, 10, 30)
    assert drawn["strata"] == ["release", "hour", "kind"]
    sheet = (folder / "sample.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(sheet)))
    lines = [json.loads(line) for line in (folder / "sample.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 40
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(600, rel=1e-4)
    assert {"request", "session", "at", "why", "weight", "reference_text", "empty"} <= set(rows[0])
    told = {row["session"] for row in rows} | {row["request"][:2] for row in rows}
    assert "'=1+1" in told
    assert "'-" in told, "a spreadsheet would run it"
    assert any(line["session"] == "=1+1" for line in lines)
    assert "sluice data add" in (folder / "README.md").read_text()
    with pytest.raises(UserError, match="holds something already"):
        write_sample(platform, MODEL, folder, size=40, seed=3, now=NOW)


@pytest.mark.parametrize(("size", "said"), [(0, "a sample of 0"), (10**6, "a sample of 1000000")])
def test_a_size_without_sense_is_refused_before_anything_is_written(
    platform: Platform, tmp_path: Path, size: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        write_sample(platform, MODEL, tmp_path / "label", size=size, seed=1, now=NOW)
    with pytest.raises(UserError, match="no answered request"):
        write_sample(
            platform, MODEL, tmp_path / "label", size=5, seed=1, now=NOW + DAY_S, since_s=60
        )
    assert not (tmp_path / "label").exists()


def labelled(platform: Platform, folder: Path, labels: int) -> Path:
    """A sample of which a person labelled the first few rows."""
    write_sample(platform, MODEL, folder, size=6, seed=1, now=NOW, since_s=HOUR_S)
    sheet = folder / "sample.csv"
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"))))
    for number, row in enumerate(rows[:labels]):
        row |= {"reference_text": f"xin chào {number}", "input": f"clips/{number}.wav"}
        (folder / "clips").mkdir(exist_ok=True)
        with wave.open(str(folder / row["input"]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(bytes([number, 1]) * 8_000)
    with sheet.open("w", encoding="utf-8", newline="") as file_of_rows:
        writer = csv.DictWriter(file_of_rows, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return sheet


def test_a_labelled_sample_becomes_a_set(platform: Platform, tmp_path: Path) -> None:
    sheet = labelled(platform, tmp_path / "label", labels=4)
    made = make_set(platform, MODEL, sheet, tmp_path / "set")
    assert (made["utterances"], made["left_out"]) == (4, 2)
    dataset = Dataset.load(tmp_path / "set")
    assert dataset.kind == "speech"
    assert dataset.utterances[2].text == "xin chào 2"
    assert dataset.utterances[0].duration_s == 0.5
    assert {"request", "weight", "why", "release"} <= set(dataset.utterances[0].columns)
    with pytest.raises(UserError, match="is there already"):
        make_set(platform, MODEL, sheet, tmp_path / "set")


def test_texts_become_a_set_by_json_lines(platform: Platform, tmp_path: Path) -> None:
    policy = platform.workspace.model_file(MODEL)
    policy.write_text(policy.read_text().replace('"whisper"', '"translation"'))
    write_sample(platform, MODEL, tmp_path / "label", size=4, seed=1, now=NOW, since_s=HOUR_S)
    lines = tmp_path / "label" / "sample.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    rows[1] |= {"input": "good morning", "reference_text": "chào buổi sáng"}
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert make_set(platform, MODEL, lines, tmp_path / "set")["left_out"] == 3
    (utterance,) = Dataset.load(tmp_path / "set").utterances
    assert (utterance.source, utterance.text) == ("good morning", "chào buổi sáng")
    assert utterance.columns["speaker"] == rows[1]["session"]


@pytest.mark.parametrize(
    ("given", "said"),
    [("../../outside.wav", "no file beside"), ("clips/none.wav", "no file beside")],
)
def test_an_input_that_is_not_beside_the_sample_makes_no_set(
    platform: Platform, tmp_path: Path, given: str, said: str
) -> None:
    sheet = labelled(platform, tmp_path / "label", labels=1)
    (tmp_path / "outside.wav").write_bytes(b"RIFF")
    sheet.write_text(sheet.read_text().replace("clips/0.wav", given))
    with pytest.raises(UserError, match=said):
        make_set(platform, MODEL, sheet, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.glob("set.*"))


def test_a_sample_without_a_label_makes_no_set(platform: Platform, tmp_path: Path) -> None:
    sheet = labelled(platform, tmp_path / "label", labels=0)
    with pytest.raises(UserError, match="no row is labelled"):
        make_set(platform, MODEL, sheet, tmp_path / "set")
