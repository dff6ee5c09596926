"""The bill of a release that was really registered, converted, gated and published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from infra.bill_of_materials import packages
from infra.environments.locks import SERVING
from pipelines.assembly import Platform
from pipelines.release_bill import release_bill
from registry.errors import IntegrityError, UserError
from registry.workspace import Workspace

from .conftest import MODEL

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = pytest.mark.engine


def test_it_names_every_file_where_it_comes_from_and_how_good_it_is(home: Home) -> None:
    platform = Platform(Workspace(home.root))
    bill = json.loads(release_bill(platform, MODEL, 1))
    record = platform.catalog(MODEL).releases[1]
    subject = bill["metadata"]["component"]
    assert (subject["type"], subject["name"], subject["version"]) == (
        "machine-learning-model",
        MODEL,
        "1",
    )
    assert subject["hashes"] == [{"alg": "SHA-256", "content": record.manifest_digest}]
    origin = {one["hashes"][0]["content"] for one in subject["pedigree"]["ancestors"]}
    assert origin == {record.artifact, record.variant_digest}
    metrics = subject["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    (wer,) = [one["value"] for one in metrics if one["type"] == "wer" and "slice" not in one]
    assert 0 < float(wer) < 0.2
    files = {one["name"]: one for one in bill["components"] if one["type"] == "file"}
    assert f"{MODEL}/1/model.py" in files
    libraries = {(one["name"], one.get("version")) for one in bill["components"]}
    assert set(packages(SERVING)) <= libraries


def test_no_bill_is_made_of_what_was_changed(home: Home) -> None:
    platform = Platform(Workspace(home.root))
    with pytest.raises(UserError, match="no release 99"):
        release_bill(platform, MODEL, 99)
    record = platform.catalog(MODEL).releases[1]
    report = platform.workspace.reports / record.report_digest / "report.json"
    content = report.read_bytes()
    report.chmod(0o644)
    try:
        report.write_bytes(content.replace(b"wer", b"WER", 1))
        with pytest.raises(IntegrityError, match="is not the report that was recorded"):
            release_bill(platform, MODEL, 1)
    finally:
        report.write_bytes(content)
