"""The prediction log as a store: merged, moved, pruned, and killed between any two steps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.record_parts import Hour, hour_name, read_part
from drift.record_places import LocalPlace
from drift.records import read_records
from model_repository.programs.common.prediction_log import DROPPED, PREDICTION_SCHEMA
from pipelines.assembly import Platform
from pipelines.model_config import load_model_config
from pipelines.prediction_log_merge import merge_hour, merge_log
from pipelines.prediction_log_places import open_place
from pipelines.prediction_log_ship import ship_hour, ship_log
from pipelines.prediction_log_upkeep import log_status, prune_log
from registry.errors import IntegrityError, RetryableEngineError, UserError
from registry.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from drift.record_places import Place

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
"""
BEGAN = 1_795_226_400
HOUR = Hour("speech", 1, BEGAN)
NOW = BEGAN + 3 * 3600.0
DAY_S = 86_400


def rows(at: Sequence[float], **columns: Any) -> pa.Table:
    given = {"at": [int(1e6 * one) for one in at], "request": [f"r{one}" for one in at]} | columns
    types = {field.name: field.type for field in PREDICTION_SCHEMA}
    arrays = {}
    for name, kind in types.items():
        values = given.get(name, [None] * len(at))
        arrays[name] = (
            pa.array(values, pa.int64()).cast(kind) if name == "at" else pa.array(values, kind)
        )
    return pa.table(arrays, schema=PREDICTION_SCHEMA)


def write(root: Path, table: pa.Table, name: str, hour: Hour = HOUR, dropped: int = 0) -> Path:
    path = root / hour.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({DROPPED: str(dropped)}), path)
    return path


def some_parts(root: Path, count: int = 4, hour: Hour = HOUR) -> None:
    for number in range(count):
        at = [hour.began + 10 * number + second for second in range(3)]
        write(root, rows(at), f"part-7-{number}.parquet", hour, dropped=number)


def requests(place: Place | Path | tuple[Place, ...]) -> list[str]:
    found = read_records(place, "speech", since=BEGAN - 30 * DAY_S, until=BEGAN + 31 * DAY_S)
    assert not {remark.kind for remark in found.remarks} - {"dropped"}, found.remarks
    listed: list[str] = found.table.column("request").to_pylist()
    return listed


class Killed(BaseException):
    """The process is gone: nothing it would have done after this happens."""


@dataclass
class Mortal:
    """A place of a process that dies at its `dies_at`-th call."""

    place: Place
    life: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.place.name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.place, name)

        def mortal(*arguments: Any) -> Any:
            self.life["calls"] = self.life.get("calls", 0) + 1
            if self.life["calls"] > self.life.get("dies_at", 10**9):
                raise Killed
            return call(*arguments)

        return mortal


def test_many_parts_become_one_with_the_same_records(tmp_path: Path) -> None:
    some_parts(tmp_path)
    before = requests(tmp_path)
    place = LocalPlace(tmp_path)
    done = merge_hour(place, HOUR)
    assert (done.before, done.after, done.records, done.duplicates) == (4, 1, 12, 0)
    (name,) = place.files(HOUR.folder)
    part = read_part(place.read(f"{HOUR.folder}/{name}"))
    assert part.dropped == 0 + 1 + 2 + 3
    assert requests(tmp_path) == before
    assert merge_hour(place, HOUR).records == 0, "one part is left alone"
    write(tmp_path, rows([BEGAN + 500.0]), "part-7-99.parquet")
    assert merge_hour(place, HOUR).records == 13
    assert requests(tmp_path) == [*before, f"r{BEGAN + 500.0}"]


def test_a_merge_that_is_killed_between_any_two_steps_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    ended = False
    for dies_at in range(100):
        root = tmp_path / str(dies_at)
        some_parts(root, 3)
        before, place = requests(root), LocalPlace(root)
        try:
            merge_hour(Mortal(place, {"dies_at": dies_at}), HOUR)
            ended = True
        except Killed:
            assert requests(root) == before
        merge_hour(place, HOUR)
        assert len(place.files(HOUR.folder)) == 1
        assert requests(root) == before
        if ended:
            break
    assert ended
    assert dies_at == 1 + 3 + 1 + 1 + 3, "it died after each of its calls to the place"


def test_a_move_that_is_killed_between_any_two_steps_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    ended = False
    for dies_at in range(100):
        local = LocalPlace(tmp_path / f"{dies_at}/here")
        archive = LocalPlace(tmp_path / f"{dies_at}/there")
        some_parts(local.root, 2)
        write(local.root, rows([BEGAN + 1.5]).drop_columns(["snr_db"]), "part-8-1.parquet")
        before, life = requests((local, archive)), {"dies_at": dies_at}
        try:
            ship_hour(Mortal(local, life), Mortal(archive, life), HOUR)
            ended = True
        except Killed:
            assert requests((local, archive)) == before
        write(local.root, rows([BEGAN + 700.0]), "part-7-late.parquet")
        ship_hour(local, archive, HOUR)
        assert requests(archive) == [*before, f"r{BEGAN + 700.0}"]
        assert local.files(HOUR.folder) == {}
        if ended:
            break
    assert ended
    assert dies_at >= 15


def test_a_reader_beside_servers_and_merges_finds_every_record_once(tmp_path: Path) -> None:
    place, stop = LocalPlace(tmp_path), threading.Event()
    some_parts(tmp_path, 20)
    kept = set(requests(tmp_path))

    def merge() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            extra = rows([BEGAN + 1000 + number])
            staged = write(tmp_path, extra, f".part-9-{number}.parquet.tmp", Hour("o", 1, BEGAN))
            staged.rename(tmp_path / HOUR.folder / f"part-9-{number}.parquet")
            merge_hour(place, HOUR)

    merging = threading.Thread(target=merge)
    merging.start()
    try:
        for _ in range(25):
            found = requests(tmp_path)
            assert len(found) == len(set(found))
            assert kept <= set(found)
            kept = set(found)
    finally:
        stop.set()
        merging.join()
    assert len(kept) > 60 + 3, "merges went on beside the reader"


def test_what_a_killed_write_leaves_is_no_part_and_goes_with_the_next_merge(
    tmp_path: Path,
) -> None:
    some_parts(tmp_path, 2)
    staged = tmp_path / HOUR.folder / ".merged-1.parquet.tmp"
    staged.write_bytes(b"half")
    before = requests(tmp_path)
    merge_hour(LocalPlace(tmp_path), HOUR)
    assert requests(tmp_path) == before
    assert not staged.exists()


def test_parts_of_other_columns_and_damaged_ones_stay_apart(tmp_path: Path) -> None:
    some_parts(tmp_path, 2)
    for number in range(2):
        older = rows([BEGAN + 100 + number]).drop_columns(["snr_db"])
        write(tmp_path, older, f"part-1-{number}.parquet")
    broken = write(tmp_path, rows([BEGAN + 200]), "part-2-1.parquet")
    broken.write_bytes(broken.read_bytes()[:100])
    done = merge_hour(LocalPlace(tmp_path), HOUR)
    assert (done.before, done.after, done.damaged) == (5, 3, ("part-2-1.parquet",))
    found = read_records(tmp_path, "speech", since=BEGAN, until=NOW)
    assert found.table.num_rows == 8
    assert [item.columns for item in found.absent] == [("snr_db",)]
    assert [item.path for item in found.skipped] == [f"{HOUR.folder}/part-2-1.parquet"]


def test_a_store_that_gives_back_other_bytes_costs_no_record(tmp_path: Path) -> None:
    class Forgetful(LocalPlace):
        def write(self, path: str, content: bytes) -> None:
            super().write(path, content[:-1])

    some_parts(tmp_path / "here")
    here, there = LocalPlace(tmp_path / "here"), Forgetful(tmp_path / "there")
    before = requests(here)
    with pytest.raises(IntegrityError, match="nothing was deleted"):
        ship_hour(here, there, HOUR)
    assert requests(here) == before
    assert sorted(
        read_records((here, there), "speech", since=BEGAN, until=NOW).table["request"].to_pylist()
    ) == sorted(before)
    ship_hour(here, LocalPlace(there.root), HOUR)
    assert requests(there) == before


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    (tmp_path / "sluice.toml").write_text(f"[records]\narchive = '{tmp_path}/archive'\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "speech.toml").write_text(POLICY)
    return Platform(Workspace(tmp_path), actor="ann")


def test_hours_that_are_not_over_are_left_alone(platform: Platform) -> None:
    predictions = platform.workspace.predictions
    late = Hour("speech", 1, BEGAN + 7200)
    for hour in (HOUR, late):
        some_parts(predictions, 3, hour)
    told = merge_log(platform, now=late.ended + 60.0)
    assert [row["hour"] for row in told["hours"]] == [hour_name(BEGAN)]
    assert len(ship_log(platform, "speech", now=late.ended + 60.0)["hours"]) == 1
    assert len(list(predictions.rglob("*.parquet"))) == 3
    archived = list((platform.workspace.root / "archive").rglob("*.parquet"))
    assert [path.parent.name for path in archived] == [HOUR.folder.rpartition("/")[2]]
    status = log_status(platform, "speech")
    assert [(row["records"], row["parts"], row["dropped"]) for row in status["held"]] == [
        (9, 3, 3),
        (9, 1, 3),
    ]


def test_hours_of_a_rollout_under_way_are_left_alone(platform: Platform) -> None:
    some_parts(platform.workspace.predictions, 3)
    plan = load_model_config(platform.workspace, "speech").rollout.model_dump(mode="json")
    body = {"rollout": 1, "candidate": 2, "baseline": None, "plan": plan}
    began = HOUR.ended - 60.0
    platform.journal.append("speech", "rollout-started", body, actor="ann", at=began)
    assert merge_log(platform, now=NOW)["hours"] == []
    assert ship_log(platform, now=NOW)["hours"] == []
    assert len(requests(platform.workspace.predictions)) == 9


def test_what_is_kept_of_peoples_words_is_part_of_a_release(platform: Platform) -> None:
    silent = load_model_config(platform.workspace, "speech")
    assert "log_text" not in silent.batching.options
    policy = platform.workspace.root / "models" / "speech.toml"
    policy.write_text(POLICY + '\n[records]\ntexts = "redacted"\n')
    keeps = load_model_config(platform.workspace, "speech")
    assert keeps.batching.options["log_text"] == "redacted"
    assert keeps.serve_digest != silent.serve_digest
    policy.write_text(POLICY + '\n[records]\ntexts = "raw"\n')
    with pytest.raises(UserError, match=r"records\.texts"):
        load_model_config(platform.workspace, "speech")


def test_pruning_says_what_it_deletes_and_never_takes_the_last_hours(platform: Platform) -> None:
    predictions = platform.workspace.predictions
    for hours in (0, 24 * 20, 24 * 29, 24 * 30):
        some_parts(predictions, 2, Hour("speech", 1, BEGAN + 3600 * hours))
    now = BEGAN + 30 * DAY_S + 60.0
    with pytest.raises(UserError, match="how long"):
        prune_log(platform, now=now)
    with pytest.raises(UserError, match="8 days back"):
        prune_log(platform, now=now, keep_days=3)
    rehearsed = prune_log(platform, now=now, keep_days=9, is_rehearsal=True)
    assert len(requests(predictions)) == 24
    told = prune_log(platform, now=now, keep_days=9)
    assert told["deleted"] == rehearsed["deleted"]
    assert [(row["hour"], row["parts"]) for row in told["deleted"]] == [
        (hour_name(BEGAN), 2),
        (hour_name(BEGAN + 20 * DAY_S), 2),
    ]
    assert len(requests(predictions)) == 12
    assert not (predictions / HOUR.folder).exists()


def test_one_command_at_a_time_and_only_with_an_archive(platform: Platform) -> None:
    with pytest.raises(UserError, match="no model"):
        merge_log(platform, "nobody", now=NOW)
    (platform.workspace.root / "sluice.toml").write_text("")
    bare = Platform(Workspace(platform.workspace.root), actor="ann")
    with pytest.raises(UserError, match="no archive"):
        ship_log(bare, now=NOW)
    for address in ("s3:/bucket", "s3://b/../c", "there", "s3://Bucket"):
        with pytest.raises(UserError):
            open_place(address)


def test_a_place_that_is_away_is_an_engines_fault(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> dict[str, int]:
        raise OSError("no route to host")

    some_parts(platform.workspace.predictions)
    monkeypatch.setattr(LocalPlace, "files", away)
    with pytest.raises(RetryableEngineError, match="no route to host"):
        merge_log(platform, now=NOW)
