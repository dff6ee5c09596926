"""The log in a bucket, on a server that speaks S3's protocol; and a bucket that is away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from drift.record_parts import Hour, write_part
from drift.record_places import LocalPlace
from drift.records import read_records
from infra.s3_place import S3Place
from model_repository.programs.common.prediction_log import PREDICTION_SCHEMA
from pipelines.prediction_log_merge import merge_hour
from pipelines.prediction_log_ship import ship_hour

from ..object_store import create_bucket, object_store, use_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = Hour("speech", 1, 1_795_226_400)
AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a store with an empty bucket `speech`."""
    with object_store() as address:
        create_bucket(address, "speech")
        yield address


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    use_store(monkeypatch)


@pytest.fixture
def bucket(store: str, environment: None, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    assert environment is None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", store)
    return S3Place(f"s3://speech/log-{time.time_ns()}")


def part(at: list[float]) -> bytes:
    rows = [
        dict.fromkeys(PREDICTION_SCHEMA.names)
        | {"at": int(1e6 * one), "request": f"r{one}", "shadow": False}
        for one in at
    ]
    return write_part(pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA))


def requests(*places: LocalPlace | S3Place) -> list[str]:
    found = read_records(places, "speech", since=HOUR.began, until=HOUR.ended)
    assert (found.skipped, found.remarks) == ((), ())
    listed: list[str] = found.table.column("request").to_pylist()
    return listed


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_places_do_the_same(kind: str, tmp_path: Path, bucket: S3Place) -> None:
    place = LocalPlace(tmp_path / "log") if kind == "folder" else bucket
    assert (place.folders("a"), place.files("a")) == ((), {})
    place.write("a/b/one.parquet", b"12345")
    place.write("a/b/two.parquet", b"")
    place.write("a/c/three.parquet", b"x")
    place.write("a/b/one.parquet", b"123")
    assert place.folders("") == ("a",)
    assert place.folders("a") == ("b", "c")
    assert place.files("a/b") == {"one.parquet": 3, "two.parquet": 0}
    assert place.read("a/b/one.parquet") == b"123"
    place.delete("a/b/one.parquet")
    place.delete("a/b/one.parquet")
    assert place.files("a/b") == {"two.parquet": 0}
    with pytest.raises(FileNotFoundError):
        place.read("a/b/one.parquet")


def test_an_hour_moves_to_the_bucket_and_is_read_there(tmp_path: Path, bucket: S3Place) -> None:
    here = LocalPlace(tmp_path)
    for number in range(3):
        at = [HOUR.began + 10.0 * number + second for second in range(2)]
        here.write(f"{HOUR.folder}/part-1-{number}.parquet", part(at))
    before = requests(here)
    assert len(before) == 6
    assert ship_hour(here, bucket, HOUR).parts == 1
    assert here.files(HOUR.folder) == {}
    assert requests(bucket) == requests(here, bucket) == before
    here.write(f"{HOUR.folder}/part-1-9.parquet", part([HOUR.began + 99.0]))
    assert requests(here, bucket) == [*before, f"r{HOUR.began + 99.0}"]
    ship_hour(here, bucket, HOUR)
    assert merge_hour(bucket, HOUR).after == 1
    assert requests(bucket) == [*before, f"r{HOUR.began + 99.0}"]


@pytest.mark.usefixtures("environment")
def test_a_bucket_that_is_away_is_named_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", AWAY)
    here, away = LocalPlace(tmp_path), S3Place("s3://speech/log")
    here.write(f"{HOUR.folder}/part-1-1.parquet", part([HOUR.began + 1.0]))
    for _ in range(3):
        began = time.monotonic()
        found = read_records((here, away), "speech", since=HOUR.began, until=HOUR.ended)
        assert found.table.num_rows == 1
        (remark,) = found.remarks
        assert (remark.kind, remark.path) == ("unreachable", "s3://speech/log")
        assert remark.reason
    assert time.monotonic() - began < 1, "a store that is away is waited for once"


def test_a_bucket_that_does_not_exist_is_no_empty_log(bucket: S3Place) -> None:
    assert bucket.files("a") == {}
    found = read_records(S3Place("s3://misspelt"), "speech", since=0, until=1)
    assert [remark.kind for remark in found.remarks] == ["unreachable"]
