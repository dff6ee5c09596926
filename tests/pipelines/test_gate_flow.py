"""A gate asks what it does not know yet, once, and says the same whatever happened on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ..extent import whole_runs_only
from .conftest import GRID, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

VARIANT = "openvino-int8"
EVALUATION, LIVE = GRID / "data" / "evaluation", GRID / "data" / "live"
SIGNAL_TOLERANCE = 1e-4
"""float32 sums depend in their last bits on which requests shared a batch, and so on the clock."""


@contextmanager
def policy(home: Home, old: str, new: str) -> Iterator[None]:
    """The model's file with `old` replaced while the block runs."""
    path = home.root / "models" / f"{MODEL}.toml"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        yield
    finally:
        path.write_text(before)


def stored(home: Home) -> dict[Path, list[dict[str, Any]]]:
    """Every row of every store, whole chunks only."""
    found = {}
    for path in (home.root / ".sluice" / "answers").glob("*/*/answers.chunks"):
        lines = [line for line in path.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]
        found[path.parent] = [row for line in lines for row in json.loads(line.split(b" ", 2)[2])]
    return found


def forget(home: Home) -> None:
    shutil.rmtree(home.root / ".sluice" / "answers", ignore_errors=True)


@pytest.fixture(scope="module")
def judged(home: Home) -> dict[str, Any]:
    """A first gate's words."""
    said: dict[str, Any] = home.json("gate", MODEL, "-v", VARIANT)
    return said


def test_the_second_gate_asks_nothing_and_says_the_same_to_the_byte(
    home: Home, judged: dict[str, Any]
) -> None:
    ran = home.run("gate", MODEL, "-v", VARIANT, "--output", "json")
    second = ran.value
    assert not judged["cached"]
    assert second["cached"]
    assert "Nothing new to ask" in ran.err
    assert "Scoring" not in ran.err
    assert second["report_digest"] == judged["report_digest"]
    assert second["report"] == judged["report"]


def test_the_evidence_holds_every_answer_the_figures_and_the_machine(
    home: Home, judged: dict[str, Any]
) -> None:
    import pyarrow.parquet as pq

    folder = home.root / ".sluice" / "reports" / judged["report_digest"]
    assert {path.name for path in folder.iterdir()} >= {
        "report.json",
        "report.html",
        "answers.parquet",
        "answers.json",
    }
    rows = pq.read_table(folder / "answers.parquet").to_pylist()
    roles = {row["role"] for row in rows}
    assert roles == {"candidate", "parent", "production"}
    candidate = [row for row in rows if row["role"] == "candidate"]
    assert len(candidate) == 448
    wrong = sum(row["measure.wer"] > 0 for row in candidate)
    assert 0 < wrong < 100
    measured = judged["report"]["performance"]
    assert len(measured["latencies_ms"]) >= 20
    assert measured["hardware"]["cores"] == len(os.sched_getaffinity(0))
    figures = measured["summary"]
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert figures["peak_memory_bytes"] > 50_000_000
    assert figures["rtf"] * figures["audio_s_per_s"] == pytest.approx(1)


@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)
@pytest.mark.usefixtures("judged")
def test_the_evidence_is_in_mlflow(home: Home) -> None:
    from registry.mlflow_client import open_client
    from registry.workspace import Workspace

    entry = next(one for one in home.history() if one["kind"] == "artifact-registered")
    client = open_client(Workspace(home.root).tracking_uri)
    logged = {
        one.path for one in client.list_artifacts(entry["body"]["run_id"], f"gates/{VARIANT}")
    }
    names = ("report.json", "report.html", "answers.parquet")
    assert logged >= {f"gates/{VARIANT}/{name}" for name in names}


def test_budgets_are_judged_by_what_was_measured(home: Home) -> None:
    tight = "[gate.budgets]\np50_ms = 0.001\nsize_mb = 1000\n\n[gate.limits]"
    with policy(home, "[gate.limits]", tight):
        judged = home.json("gate", MODEL, "-v", VARIANT, expect=1)
    checks = {one["name"]: one for one in judged["report"]["checks"]}
    assert checks["p50_ms"]["verdict"] == "fail"
    assert checks["p50_ms"]["low"] > 0.001
    assert checks["size_mb"]["verdict"] == "pass"


def test_a_gate_that_is_killed_while_it_scores_goes_on_where_it_was(home: Home) -> None:
    # One at a time and one thread, so that there is something to interrupt.
    slow = "[serve]\nmax_batch_size = 1\nthreads = 1\nqueue_delay_us = 0\n"
    with without_serve(home, slow):
        before = set(stored(home))
        process = home.start("gate", MODEL, "-v", VARIANT)
        deadline = time.monotonic() + 120
        ours: list[Path] = []
        while time.monotonic() < deadline and process.poll() is None:
            ours = [path for path, rows in stored(home).items() if path not in before and rows]
            if ours:
                break
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
        assert ours
        chunks = ours[0] / "answers.chunks"
        # What a power cut leaves of a chunk that was being written.
        with chunks.open("ab") as file:
            file.write(b"0123456789abcdef 5 [{")
        kept = len(stored(home)[ours[0]])
        assert 0 < kept < 448
        ran = home.run("gate", MODEL, "-v", VARIANT, "--output", "json")
        assert ran.code in {0, 3}, ran.err
        assert f"{kept} answers are known: asking for the other {448 - kept}" in ran.err
        names = [row["id"] for row in stored(home)[ours[0]]]
    assert len(names) == len(set(names)) == 448


@contextmanager
def without_serve(home: Home, table: str) -> Iterator[None]:
    """The model's file with `table` as its `[serve]`."""
    import tomlkit

    path = home.root / "models" / f"{MODEL}.toml"
    before = path.read_text()
    document = tomlkit.parse(before)
    document.pop("serve", None)
    path.write_text(f"{tomlkit.dumps(document)}\n{table}")
    try:
        yield
    finally:
        path.write_text(before)


def evaluated(home: Home, **environment: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What an evaluation of the live set says, and the rows that it stored."""
    forget(home)
    arguments = ("evaluate", MODEL, "-v", VARIANT, "--dataset", str(LIVE))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        said = home.json(*arguments)
    (rows,) = stored(home).values()
    return said, {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def unsharded(home: Home) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What one server, asked by one client, answers."""
    return evaluated(home)


@pytest.mark.parametrize("runner", ["local", pytest.param("dask", marks=whole_runs_only)])
def test_shards_answer_as_one_does(home: Home, unsharded: Any, runner: str) -> None:
    if runner == "dask" and importlib.util.find_spec("prefect_dask") is None:
        pytest.skip("run `uv pip install prefect-dask==0.3.7` to try the Dask runner")
    alone, whole = unsharded
    sharded, parts = evaluated(
        home, SLUICE_EVALUATION__SHARDS="3", SLUICE_EVALUATION__RUNNER=runner
    )
    assert not sharded["cached"]
    assert sharded["answers"] == alone["answers"]
    assert sharded["metrics"] == alone["metrics"]
    assert parts.keys() == whole.keys()
    for name, row in parts.items():
        numbers = {"signals", "latency_ms"}
        assert {k: v for k, v in row.items() if k not in numbers} == {
            k: v for k, v in whole[name].items() if k not in numbers
        }
        assert row["signals"].keys() == whole[name]["signals"].keys()
        np.testing.assert_allclose(
            list(row["signals"].values()),
            list(whole[name]["signals"].values()),
            rtol=SIGNAL_TOLERANCE,
            atol=SIGNAL_TOLERANCE,
        )


def test_a_production_release_that_cannot_be_scored_is_an_error_in_the_report(home: Home) -> None:
    """Its variant is gone from the store, and nobody has its answers any more."""
    released = next(
        entry["body"] for entry in home.history() if entry["kind"] == "release-published"
    )
    digest = released["variant_digest"]
    manifest = next((home.root / ".sluice" / "store").rglob(f"*{digest}*"))
    forget(home)
    moved = home.root / "moved"
    manifest.rename(moved)
    try:
        judged = home.json("gate", MODEL, "-v", VARIANT, expect=2)
    finally:
        moved.rename(manifest)
    broken = [one for one in judged["report"]["checks"] if one["verdict"] == "error"]
    assert broken
    assert all(one["name"].endswith("_over_production") for one in broken)
    assert "what is in production cannot be scored" in broken[0]["reason"]


def test_evaluation_requests_are_not_in_the_prediction_log(home: Home) -> None:
    folder = home.root / ".sluice" / "predictions"
    before = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    forget(home)
    home.json("evaluate", MODEL, "-v", VARIANT, "--dataset", str(LIVE))
    after = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert after == before
