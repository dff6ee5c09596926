"""What a gate leaves for the first days of a release: records of its evaluation set, as logged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from drift.case import DriftState
from model_repository.layout import ReleaseLayout
from pipelines.assembly import Platform
from pipelines.drift_check import check_drift
from pipelines.drift_reference import gate_reference
from registry.workspace import Workspace

from .conftest import GRID, MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)
def test_the_release_names_records_of_every_utterance_and_none_of_its_text(home: Home) -> None:
    platform = Platform(Workspace(home.root))
    catalog = platform.catalog(MODEL)
    kept = gate_reference(platform, catalog, 1)
    assert kept is not None
    lines = (GRID / "data" / "evaluation" / "manifest.jsonl").read_text().splitlines()
    asked = [json.loads(line) for line in lines]
    assert kept.records.num_rows == kept.asked == len(asked)
    assert kept.records.column("request").to_pylist() == [one["id"] for one in asked]
    for name in ("rms", "snr_db", "average_log_probability", "compression_ratio", "empty"):
        assert kept.records.column(name).null_count == 0, name
    texts = {word for one in asked for word in one["text"].lower().split()}
    content = {str(value).lower() for row in kept.records.to_pylist() for value in row.values()}
    assert not texts & content
    assert kept.quality is not None
    assert kept.quality.error.utterances == len(asked)
    assert kept.quality.error.speakers == len({one["speaker"] for one in asked})

    gated = next(one["body"] for one in home.history() if one["kind"] == "gate-decided")
    assert len(gated["reference"]) == 64
    assert catalog.releases[1].body["reference"] == gated["reference"]
    record = ReleaseLayout(platform.workspace.repository, MODEL, 1).record(
        platform.workspace.releases
    )
    signed = json.loads(record.read_bytes())["record"]
    assert signed["provenance"]["reference"] == gated["reference"]
    run = next(iter(catalog.artifacts.values())).run_id
    from registry.mlflow_client import open_client

    client = open_client(platform.workspace.tracking_uri)
    folder = f"gates/{catalog.releases[1].variant}/reference"
    logged = {one.path.rpartition("/")[2] for one in client.list_artifacts(run, folder)}
    assert logged == {"records.parquet", "reference.json"}


def test_traffic_of_the_first_hour_is_compared_with_it(home: Home) -> None:
    import time

    state = DriftState(MODEL)
    platform = Platform(Workspace(home.root))
    found = check_drift(platform, MODEL, window_s=3600, now=time.time(), state=state)
    assert found.basis == "gate"
    assert found.assessment.judgement.reference_rows == 448
